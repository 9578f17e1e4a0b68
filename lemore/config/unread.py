"""Keys of a recipe that training and testing for a task do not have. Torch-free."""

from typing import Any

from lemore.config.losses import CROSS_ENTROPY
from lemore.config.read import plain
from lemore.config.recipe import Test, Train

# of each task, and what they must be
OFF = {
    "segmentation": {"train": {"detection_head": {}}},
    "detection": {
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
            "fake_quantize": "none",
            "keep": "last",
            "compile": False,  # batches differ in size
        },
        "test": {"align": None, "mode": "whole", "ratios": (1.0,), "flip": False},
    },
}


def check_unread(experiment: Any, dataset: str, task: str, train: Train, test: Test) -> None:
    """Raises ValueError for a key that training or testing for a task does not read."""
    recipes = {"train": train, "test": test}
    unread = [
        (part, key, off)
        for part, keys in OFF[task].items()
        for key, off in keys.items()
        if getattr(recipes[part], key) != off
    ]
    if not unread:
        return
    part, key, off = unread[0]
    own = key in experiment.config.recipe_changes.get(part, {})
    place = f"{experiment.source}: recipe_changes." if own else ""
    raise ValueError(
        f"{place or f'{experiment.name_recipe(dataset)}: '}{part}.{key} is "
        f"{plain(getattr(recipes[part], key))}, which {task} does not have, expected "
        f"{plain(off)}"
    )
