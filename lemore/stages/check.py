"""Checks, before a training begins, what it and its evaluation need of the prepared data.

What files say by themselves is checked when they are read (`lemore/config`). Without torch, since
the process that only waits for a training should stay small.
"""

import difflib
from collections.abc import Collection, Sequence
from pathlib import Path

from lemore.config.jobs import EvaluateJob
from lemore.config.recipe import Pretrain, Test, Train
from lemore.data.augment.segmentation import fit_size
from lemore.data.store import Store


def check_training(recipe: Train, data: Path) -> None:
    """Raises ValueError for an empty split, or a photo that vanishes at a scale of the recipe."""
    low = recipe.scale_range[0]
    check_sizes(open_split(data, "train"), recipe.img_scale, (low,), "train")
    if recipe.validate_every:
        check_sizes(open_split(data, "val"), recipe.img_scale, (1.0,), "train")


def check_pretraining(recipe: Pretrain, data: Path) -> None:
    """Raises ValueError for a split that is missing or empty."""
    for split in ("train", recipe.split):
        open_split(data, split)


def check_evaluation(job: EvaluateJob, data: Path) -> None:
    """Raises ValueError for an empty split, an image that is not there, or one that vanishes."""
    store = open_split(data, job.test.split)
    check_images(store, job.images)
    check_test(store, job.test)


def check_test(store: Store, test: Test) -> None:
    check_sizes(store, test.img_scale, test.ratios, "test")


def open_split(data: Path, split: str) -> Store:
    """Opens a split; ValueError if it is missing or holds no image."""
    store = Store(data, split)
    if len(store) == 0:
        raise ValueError(f"{data}: split '{split}' holds no image; see audit.json beside it")
    return store


def check_images(store: Store, names: Collection[str]) -> None:
    """Raises ValueError for an image of a comparison that the split does not hold."""
    known = {store.name(i) for i in range(len(store))} if names else set()
    missing = sorted(set(names) - known)
    if missing:
        near = difflib.get_close_matches(missing[0], known, 1) or sorted(known)[:3]
        raise ValueError(
            f"the run's comparisons.{store.dataset}.images has '{missing[0]}', which is not in "
            f"split '{store.split}' of {store.folder}; it holds {', '.join(near)} ({len(known)} in "
            "all), named without suffix"
        )


def check_sizes(
    store: Store, img_scale: tuple[int, int], ratios: Sequence[float], part: str
) -> None:
    """Raises ValueError for a photo of which less than a pixel is left at the smallest ratio."""
    smallest = min(ratios)
    scale = (int(img_scale[0] * smallest), int(img_scale[1] * smallest))
    if min(scale) < 1:
        raise ValueError(f"{part}.img_scale is {list(img_scale)}, of which {smallest} is nothing")
    narrow = [i for i in range(len(store)) if min(fit_size(store.get_size(i), scale)) < 1]
    if narrow:
        height, width = store.get_size(narrow[0])
        raise ValueError(
            f"{part}.img_scale is {list(img_scale)}, in which '{store.name(narrow[0])}' of "
            f"{width} x {height} pixels vanishes at {smallest} of it (and {len(narrow) - 1} other "
            f"photos of split '{store.split}'): remove them, or choose a larger img_scale"
        )
