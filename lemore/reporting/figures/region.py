"""Where the predictions of an image differ most: the region that the comparison enlarges."""

from collections.abc import Sequence

import numpy as np

SHARE = (1 / 3, 1 / 2)  # of the image's height and width; twice as large when enlarged to the width

Region = tuple[int, int, int, int]  # top, left, height, width


def differing_region(
    predictions: Sequence[np.ndarray], label: np.ndarray, num_classes: int
) -> Region | None:
    """The window with the most labelled pixels on which the models disagree; None if they agree.

    predictions, label: H x W train ids. With a single model, where it disagrees with the label.
    """
    maps = list(predictions) if len(predictions) > 1 else [*predictions, label]
    differ = np.zeros(label.shape, dtype=bool)
    for other in maps[1:]:
        differ |= other != maps[0]
    differ &= label < num_classes
    if not differ.any():
        return None
    height, width = (max(round(s * side), 1) for s, side in zip(SHARE, label.shape, strict=True))
    counts = _window_sums(differ, height, width)
    top, left = np.unravel_index(counts.argmax(), counts.shape)
    return int(top), int(left), height, width


def _window_sums(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Number of set pixels in every window, by its upper left corner."""
    total = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    rows = total[height:] - total[:-height]
    return rows[:, width:] - rows[:, :-width]
