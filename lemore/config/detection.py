"""Keys of a recipe that training and testing of detectors do not have. Torch-free."""

from typing import Any

from lemore.config.losses import CROSS_ENTROPY
from lemore.config.recipe import Test, Train

OFF = {
    "train": {
        "scale_range": (1.0, 1.0),
        "scale_step": 0.0,
        "cat_max_ratio": 1.0,
        "photometric_distortion": "none",
        "class_weight": "none",
        "losses": CROSS_ENTROPY,
        "dropout": 0.0,
        "decode_head": {},
        "rare_class_share": 0.0,
        "teacher": None,
        "keep": "last",
        "compile": False,  # batches differ in size
    },
    "test": {"align": None, "mode": "whole", "ratios": (1.0,), "flip": False},
}


def list_unread(train: Train, test: Test) -> list[tuple[str, Any, Any]]:
    """Lists the keys that are not off, as (part.key, value, what it must be)."""
    found = []
    for part, recipe in (("train", train), ("test", test)):
        for key, off in OFF[part].items():
            value = getattr(recipe, key)
            found += [(f"{part}.{key}", value, off)] if value != off else []
    return found
