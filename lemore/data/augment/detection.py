"""Training transform of detection, in numpy and OpenCV. Sizes are (H, W), images RGB uint8.

As mmdetection 2.x trains RetinaNet: a photo is resized with its aspect kept, and mirrored at
random. Crowds, and boxes that are narrower than a pixel of the photo, are left out.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from lemore.data.augment.segmentation import fit_size
from lemore.data.objects import Objects

LEAST = 1  # pixels of a box that training takes


class DetectionSample(NamedTuple):
    """image: uint8 (H, W, 3). boxes: float32 M 4, x1 y1 x2 y2 in it. classes: int64 M train ids."""

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class DetectionTransform:
    """Resizes and mirrors a photo with its boxes.

    img_scale: (long, short) side in pixels that the photo fits into. align: the photos of a batch
    are padded to a multiple of so many pixels.
    """

    img_scale: tuple[int, int]
    flip_probability: float
    align: int

    def __call__(
        self, image: np.ndarray, objects: Objects, rng: np.random.Generator
    ) -> DetectionSample:
        height, width = fit_size(image.shape[:2], self.img_scale)
        kept = ~objects.crowd & (objects.sizes >= LEAST).all(axis=1) & (objects.areas > 0)
        factors = np.array([width / image.shape[1], height / image.shape[0]] * 2, np.float32)
        boxes = (objects.boxes[kept] * factors).clip(0, [width, height] * 2)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        if rng.random() < self.flip_probability:
            image = cv2.flip(image, 1)
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        return DetectionSample(image, boxes.astype(np.float32), objects.classes[kept])

    def find_frame(self, sizes: np.ndarray) -> tuple[int, int]:
        """Returns the (H, W) into which all photos of `sizes` (N 2) fit, resized and padded."""
        fitted = [fit_size((height, width), self.img_scale) for height, width in sizes.tolist()]
        height, width = (
            -(-max(sides) // self.align) * self.align for sides in zip(*fitted, strict=True)
        )
        return height, width
