"""Regions of classes, painted into a label image one over the other."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np

Region: TypeAlias = tuple[int, Callable[[], np.ndarray]]  # train id, what draws its H x W bool


def paint(
    regions: Iterable[Region], size: tuple[int, int], unlabelled: int, *, by_area: bool
) -> np.ndarray:
    """Paints H x W uint8 train ids; `unlabelled` is what no region covers.

    A later region covers an earlier one. With `by_area`, regions of more pixels come first, so that
    the smaller one is seen; among equal ones the order stays. Every region is drawn when its turn
    comes, since the masks of a crowded photo together would fill the memory.
    """
    label = np.full(size, unlabelled, np.uint8)
    if by_area:
        regions = sorted(regions, key=lambda region: -np.count_nonzero(region[1]()))
    for train_id, draw in regions:
        label[draw()] = train_id
    return label
