"""Keys of a recipe that training and testing for a task do not have. Torch-free."""

from collections.abc import Callable
from typing import Any

from lemore.config.losses import CROSS_ENTROPY
from lemore.config.read import plain
from lemore.config.recipe import Train

# of each task, and what they must be
OFF: dict[str, dict[str, Any]] = {
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
            "compile": False,  # batches differ in size
        },
        "test": {"align": None, "mode": "whole", "ratios": (1.0,), "flip": False},
    },
}
MEASURES = {"segmentation": ("mIoU", "aAcc", "mAcc", "fwIoU"), "detection": ("AP", "AP50")}


def check_unread(task: str, part: str, recipe: Any, name_key: Callable[[str], str]) -> None:
    """Raises ValueError for a key of `train` or `test` that the task does not read.

    recipe: that part. name_key: tells where a key of it stands.
    """
    for key, off in OFF[task].get(part, {}).items():
        value = getattr(recipe, key)
        if value != off:
            raise ValueError(
                f"{name_key(key)} is {plain(value)}, which {task} does not have, expected "
                f"{plain(off)}"
            )


def check_measure(task: str, recipe: Train, name_key: Callable[[str], str]) -> None:
    """Raises ValueError where the best weights are chosen by a measure that the task lacks."""
    if recipe.keep == "best" and recipe.keep_by not in MEASURES[task]:
        raise ValueError(
            f"{name_key('keep')} is best, by keep_by: {recipe.keep_by}, which {task} does not "
            f"have, expected keep_by: {' or '.join(MEASURES[task])}"
        )
