"""Photometric distortion as in mmsegmentation 0.x (PhotoMetricDistortion), rounding included.

Each step has probability 1/2 and ends in uint8: brightness +U(-32, 32), contrast xU(0.5, 1.5),
saturation xU(0.5, 1.5) and hue +{-18..17} in OpenCV's 8-bit HSV. Contrast comes either before
saturation and hue or after them, at random. Drawing and applying are separate, so that the same
draws can be applied elsewhere.
"""

import math
from dataclasses import astuple, dataclass

import cv2
import numpy as np

BRIGHTNESS = 32.0
FACTOR = (0.5, 1.5)
HUE = 18
HUE_RANGE = 180  # OpenCV stores degrees / 2 in 8 bits


@dataclass(frozen=True)
class Distortion:
    """The draws for one image; None where a step is left out."""

    brightness: float | None
    contrast: float | None
    contrast_first: bool
    saturation: float | None
    hue: int | None

    def list_values(self) -> list[float]:
        """Lists five numbers for a tensor, NaN where a step is left out."""
        return [math.nan if step is None else float(step) for step in astuple(self)]


def draw(rng: np.random.Generator) -> Distortion:
    """Draws a distortion. Always the same number of draws in the same order."""
    coins = rng.random(5) < 0.5
    brightness = rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    contrast, saturation = rng.uniform(*FACTOR, size=2)
    hue = int(rng.integers(-HUE, HUE))
    return Distortion(
        brightness=brightness if coins[0] else None,
        contrast=contrast if coins[1] else None,
        contrast_first=bool(coins[2]),
        saturation=saturation if coins[3] else None,
        hue=hue if coins[4] else None,
    )


def distort(image: np.ndarray, distortion: Distortion) -> np.ndarray:
    """Applies a distortion to an RGB uint8 image (H, W, 3); the input is left untouched."""
    before, after = [], []
    if distortion.brightness is not None:
        before.append(make_linear_table(1.0, distortion.brightness))
    if distortion.contrast is not None:
        place = before if distortion.contrast_first else after
        place.append(make_linear_table(distortion.contrast, 0.0))
    colour = []
    if distortion.saturation is not None:
        colour.append((1, make_linear_table(distortion.saturation, 0.0)))
    if distortion.hue is not None:
        shifted = (np.arange(256) + distortion.hue) % HUE_RANGE
        colour.append((0, shifted.astype(np.uint8)))
    if not colour:
        return _apply_tables(image, before + after)
    image = _apply_tables(image, before)
    for channel, table in colour:  # a round trip each: 8-bit HSV loses something every time
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, channel), table), hsv, channel)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return _apply_tables(image, after)


def make_linear_table(factor: float, offset: float) -> np.ndarray:
    """256 uint8 values of clip(v * factor + offset, 0, 255), in float32 and cut, not rounded."""
    values = np.arange(256, dtype=np.float32) * np.float32(factor) + np.float32(offset)
    return np.clip(values, 0, 255).astype(np.uint8)


def _apply_tables(image: np.ndarray, tables: list[np.ndarray]) -> np.ndarray:
    if not tables:
        return image
    composed = tables[0]
    for table in tables[1:]:
        composed = table[composed]
    return cv2.LUT(image, composed)
