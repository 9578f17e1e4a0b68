"""RandAugment as the lineage's ImageNet training has it ("rand-m9-mstd0.5" of timm 0.3.2).

Cubuk et al., "RandAugment", 2020, in timm's variant: two operations drawn from fifteen, each done
with probability 1/2, at a magnitude drawn around the given one. Most operations are tables of 256
values; the others are one filter or one warp. Images are RGB uint8 (H, W, 3).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from lemore.data.augment.photometric import make_linear_table

NUMBER, PROBABILITY = 2, 0.5
MAX_MAGNITUDE = 10.0
MAX_DEGREES, MAX_SHEAR, MAX_SHIFT = 30.0, 0.3, 0.45  # the shift as a share of the side
SOLARIZE_ADD, SOLARIZE_BELOW = 110, 128
FILL = (124, 116, 104)  # ImageNet's mean, where a warp uncovers nothing
GRAY = np.array([0.299, 0.587, 0.114])
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13  # Pillow's filter of that name
VALUES = np.arange(256)

# (image, strength in 0..1, sign +1 or -1) -> image
Operation = Callable[[np.ndarray, float, int], np.ndarray]


class DrawnOperation(NamedTuple):
    """An operation to be done: its place in `OPERATIONS`, strength 0..1 and sign +1 or -1."""

    index: int
    strength: float
    sign: int


def draw(
    magnitude: float, deviation: float, rng: np.random.Generator, increasing: bool = False
) -> list[DrawnOperation]:
    """Draws the operations for one image, at most two; always takes the same number of draws.

    magnitude: 0..10; each operation's own is drawn from N(magnitude, deviation^2) and clipped.
    increasing: a higher magnitude is a stronger change with every operation (timm's "inc1").
    """
    indices = rng.integers(len(OPERATIONS), size=NUMBER).tolist()
    coins, positive = (rng.random((2, NUMBER)) < PROBABILITY).tolist()
    magnitudes = rng.normal(magnitude, deviation, NUMBER).tolist()
    chosen = [
        DrawnOperation(index, min(max(drawn / MAX_MAGNITUDE, 0.0), 1.0), 1 if is_positive else -1)
        for index, coin, drawn, is_positive in zip(
            indices, coins, magnitudes, positive, strict=True
        )
        if coin
    ]
    return [increase(one) for one in chosen] if increasing else chosen


def increase(drawn: DrawnOperation) -> DrawnOperation:
    """Changes the strength so that it counts from no change on.

    Posterizing keeps 4 bits and fewer, solarizing begins at 256 and below, and the factor of
    colour, contrast, brightness and sharpness is 1 plus or minus up to 0.9.
    """
    strength, operation = drawn.strength, OPERATIONS[drawn.index]
    if operation in LEVELS:
        levels = LEVELS[operation]
        return drawn._replace(strength=1 - int(strength * levels) / levels)
    if operation in (color, contrast, brightness, sharpness):
        return drawn._replace(strength=(1 + drawn.sign * strength) / 2)
    return drawn


def apply(image: np.ndarray, operations: list[DrawnOperation]) -> np.ndarray:
    """Applies the drawn operations to an image."""
    for index, strength, sign in operations:
        image = OPERATIONS[index](image, strength, sign)
    return image


def auto_contrast(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    """Stretches each channel to 0..255."""
    tables = []
    for channel in cv2.split(image):
        low, high, _, _ = cv2.minMaxLoc(channel)
        stretched = (VALUES - low) * (255 / (high - low)) if high > low else VALUES
        tables.append(_make_table(stretched))
    return _map_channels(image, tables)


def equalize(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    """Flattens each channel's histogram, with Pillow's rounding."""
    tables = []
    for channel in cv2.split(image):
        counts = cv2.calcHist([channel], [0], None, [256], [0, 256]).ravel().astype(np.int64)
        step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
        below = np.cumsum(counts) - counts
        tables.append(_make_table((below + step // 2) // step if step else VALUES))
    return _map_channels(image, tables)


def invert(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    return cv2.bitwise_not(image)


def rotate(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    """Rotates around the centre, counter-clockwise for a positive sign."""
    angle = math.radians(strength * MAX_DEGREES * sign)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = image.shape[1] / 2, image.shape[0] / 2
    return _warp(image, [[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]])


def posterize(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    """Keeps the highest 0 to 4 bits: more, the higher the magnitude."""
    dropped = 8 - int(strength * 4)
    return cv2.LUT(image, _make_table(VALUES >> dropped << dropped))


def solarize(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    """Inverts values from 256 * strength on."""
    return cv2.LUT(image, _make_table(np.where(int(strength * 256) > VALUES, VALUES, 255 - VALUES)))


def solarize_add(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    """Brightens the darker half."""
    added = VALUES + int(strength * SOLARIZE_ADD)
    return cv2.LUT(image, _make_table(np.where(SOLARIZE_BELOW > VALUES, added, VALUES)))


def color(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    """Moves away from the gray image, or towards it."""
    factor = _find_factor(strength)
    return cv2.transform(image, factor * np.eye(3) + (1 - factor) * GRAY)


def contrast(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    """Moves away from the mean gray, or towards it."""
    mean = int(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean() + 0.5)
    factor = _find_factor(strength)
    return cv2.LUT(image, make_linear_table(factor, mean * (1 - factor)))


def brightness(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    return cv2.LUT(image, make_linear_table(_find_factor(strength), 0.0))


def sharpness(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    """Moves away from the smoothed image, or towards it; the outermost pixels stay."""
    factor = _find_factor(strength)
    kernel = (1 - factor) * SMOOTH
    kernel[1, 1] += factor
    sharp = cv2.filter2D(image, -1, kernel)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        sharp[edge] = image[edge]
    return sharp


def shear_x(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    return _warp(image, [[1, strength * MAX_SHEAR * sign, 0], [0, 1, 0]])


def shear_y(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    return _warp(image, [[1, 0, 0], [strength * MAX_SHEAR * sign, 1, 0]])


def translate_x(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    return _warp(image, [[1, 0, strength * MAX_SHIFT * sign * image.shape[1]], [0, 1, 0]])


def translate_y(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
    return _warp(image, [[1, 0, 0], [0, 1, strength * MAX_SHIFT * sign * image.shape[0]]])


OPERATIONS: tuple[Operation, ...] = (
    auto_contrast, equalize, invert, rotate, posterize, solarize, solarize_add, color, contrast,
    brightness, sharpness, shear_x, shear_y, translate_x, translate_y,
)  # fmt: skip
LEVELS: dict[Operation, int] = {posterize: 4, solarize: 256}


def _find_factor(strength: float) -> float:
    """Factor of colour, contrast, brightness and sharpness: 0.1 to 1.9; 1 changes nothing."""
    return 0.1 + 1.8 * strength


def _make_table(values: np.ndarray) -> np.ndarray:
    """256 uint8 values, clipped and cut, not rounded, as Pillow does."""
    return np.clip(values, 0, 255).astype(np.uint8)


def _map_channels(image: np.ndarray, tables: list[np.ndarray]) -> np.ndarray:
    return cv2.LUT(image, np.stack(tables, axis=-1)[None])


def _warp(image: np.ndarray, matrix: list[list[float]]) -> np.ndarray:
    """Warps bilinearly; `matrix` (2 x 3) maps points of the result to points of the image.

    Coordinates start at the corner, as in Pillow; OpenCV's start at the first pixel's centre.
    """
    full = np.array(matrix, np.float64)
    full[:, 2] += full[:, :2].sum(1) / 2 - 0.5
    size = (image.shape[1], image.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, full, size, flags=flags, borderValue=FILL)
