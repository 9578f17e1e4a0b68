"""A photo as a store keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lemore.data.archives.blocks import Box, decode_blocks, read_size
from lemore.data.archives.images import JPEG, REDUCED, decode_rgb

# How a photo is kept: the file's bytes, H x W x 3 uint8 RGB, or a JPEG of `encode_blocks`.
FILE, PIXELS, BLOCKS = 0, 1, 2
MAX_GROWTH = 3  # of a photo's bytes, when it is kept as pixels


def pack_image(data: bytes, pixels: np.ndarray) -> tuple[bytes, int]:
    """(bytes to keep, FILE or PIXELS) of a photo, given its file and its decoded pixels.

    A PNG becomes pixels, since inflating it takes far longer than the rest of its transform
    (Cityscapes: 2.7 times the bytes, a tenth of the time), unless they take too much space.
    """
    if data.startswith(JPEG) or pixels.nbytes > MAX_GROWTH * len(data):
        return data, FILE
    return pixels.tobytes(), PIXELS


@dataclass(frozen=True)
class Photo:
    """A photo of a store that is not decoded yet.

    data: uint8, as its `coding` says. size: (H, W) as photographed; a smaller copy may be kept.
    """

    data: np.ndarray
    coding: int
    size: tuple[int, int]

    def read(self) -> np.ndarray:
        """Decodes the whole photo as it is kept: H x W x 3 uint8 RGB, perhaps read-only."""
        if self.coding == PIXELS:
            return self.data.reshape(*self.size, 3)
        return decode_rgb(self.data)

    def read_part(self, box: Box, least: tuple[int, int]) -> np.ndarray:
        """Decodes the part that is at `box` of the photo as photographed: uint8 RGB.

        It has as many pixels as are kept there. A JPEG file of which `least` (H, W) needs half,
        a quarter or an eighth of the resolution, is decoded at that.
        """
        if self.coding == BLOCKS:
            factors = [
                kept / side for kept, side in zip(read_size(self.data), self.size, strict=True)
            ]
            return decode_blocks(self.data, scale_box(box, factors))
        if self.coding == PIXELS or self.data[:2].tobytes() != JPEG:
            pixels, reduction = self.read(), 1
        else:
            spare = min(box[2] / least[0], box[3] / least[1])
            reduction = max((n for n in REDUCED if n <= spare), default=1)
            pixels = decode_rgb(self.data, reduction=reduction)
        top, left, height, width = scale_box(box, [1 / reduction] * 2)
        return pixels[top : top + height, left : left + width]


def scale_box(box: Box, factors: Sequence[float]) -> Box:
    """Scales a part of an image by the factors of both axes (at most 1), to at least a pixel."""
    ends = [max(round((box[axis] + box[axis + 2]) * factors[axis]), 1) for axis in (0, 1)]
    top, left = (min(round(box[axis] * factors[axis]), ends[axis] - 1) for axis in (0, 1))
    return top, left, ends[0] - top, ends[1] - left
