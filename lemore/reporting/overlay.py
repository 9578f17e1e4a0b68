"""Label maps as pictures: class colours, and class colours over the photo."""

from collections.abc import Sequence

import numpy as np

Color = tuple[int, int, int]
COLOR_SHARE = 0.72  # of the class's colour; the rest is the photo's grey
EDGE_SHARE = 0.35  # brightness of the borders between classes
STRIPE_PERIOD = 12  # stripes of the ignored pixels: this many per image height
BAND_ROWS = 256  # rows drawn at a time, so that large photos take little memory


def draw_overlay(image: np.ndarray, label: np.ndarray, colors: Sequence[Color]) -> np.ndarray:
    """Draws class colours over the grey image with dark borders between classes, H W 3 uint8.

    Pixels of no class (ignored, or predicted outside the classes) are striped black and white.
    """
    if image.shape[:2] != label.shape:
        raise ValueError(
            f"an image of {image.shape[:2]} and a label map of {label.shape} do not belong together"
        )
    table = np.zeros((256, 3))
    table[: len(colors)] = colors
    drawn = np.empty((*label.shape, 3), np.uint8)
    for top in range(0, len(label), BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        above = label[top - 1] if top else label[0]
        mixed = _mix_colors(image[rows], label[rows], above, table)
        outside = label[rows] >= len(colors)
        mixed[outside] = _draw_stripes(top, outside.shape, len(label))[outside][:, None]
        drawn[rows] = mixed.round()
    return drawn


def _mix_colors(
    image: np.ndarray, label: np.ndarray, above: np.ndarray, table: np.ndarray
) -> np.ndarray:
    """Computes some rows of the overlay as floats; above: the labels of the row before them."""
    grey = image.mean(axis=2, keepdims=True)
    mixed = COLOR_SHARE * table[label] + (1 - COLOR_SHARE) * grey
    edge = label != np.concatenate([above[None], label[:-1]])
    edge[:, 1:] |= label[:, 1:] != label[:, :-1]
    mixed[edge] *= EDGE_SHARE
    return mixed


def _draw_stripes(top: int, shape: tuple[int, ...], height: int) -> np.ndarray:
    """Draws diagonal stripes, H W: the rows from `top` on of an image of `height`."""
    rows, columns = np.indices(shape)
    width = max(height // (2 * STRIPE_PERIOD), 2)
    return np.where((rows + top + columns) // width % 2 == 0, 20.0, 235.0)


def color_labels(label: np.ndarray, colors: Sequence[Color]) -> np.ndarray:
    """Returns class colours, H W 3 uint8; pixels of no class are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    return table[label]
