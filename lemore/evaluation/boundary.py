"""Boundary IoU (Cheng et al., Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation, CVPR 2021), by class over a data set.

The boundary of a mask is what of it lies no further than d from its contour, d being 0.02 of the
image's diagonal: the mask less its erosion by a square of side 2 d + 1, where the image's edge is
contour too. A pixel of a label map keeps its class under that erosion exactly if the square around
it holds no other class, so one smallest and one largest value over squares give the boundaries of
all classes at once.
"""

import math
from typing import Any

import cv2
import numpy as np

from lemore.evaluation.metrics import count_pairs, mean, nullable

DILATION_RATIO = 0.02
NEITHER = 255  # no class: num_classes is at most 255


class BoundaryIoU:
    """Boundary pixels by class: `counts`, int64 3 x K, intersection, predicted and labelled."""

    def __init__(self, num_classes: int, ignore_index: int):
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.counts = np.zeros((3, num_classes), dtype=np.int64)

    def count(self, prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
        """The counts of one image, int64 3 x K; adds nothing. uint8 maps (H, W) of equal size.

        Ignored pixels belong to no class in either map, so that what is predicted there neither
        counts nor draws a contour of its own.
        """
        ignored = label == self.ignore_index
        distance = boundary_width(label.shape)
        maps = [np.where(ignored, NEITHER, values) for values in (label, prediction)]
        pairs = count_pairs(*(only_boundary(values, distance) for values in maps))
        classes = slice(self.num_classes)
        return np.stack([np.diag(pairs), pairs.sum(axis=0), pairs.sum(axis=1)])[:, classes]

    def results(self) -> dict[str, Any]:
        """Fractions `boundary_iou` by class and their mean; None for a class in neither map."""
        intersection, predicted, labelled = self.counts.astype(np.float64)
        with np.errstate(invalid="ignore"):
            iou = intersection / (predicted + labelled - intersection)
        return {"boundary_iou": nullable(iou), "mean_boundary_iou": mean(iou)}


def boundary_width(size: tuple[int, ...]) -> int:
    """d in pixels for an image of `size` (H, W)."""
    return max(round(DILATION_RATIO * math.hypot(*size)), 1)


def only_boundary(values: np.ndarray, distance: int) -> np.ndarray:
    """A uint8 map (H, W) of classes with 255 where the square around a pixel holds one class."""
    square = np.ones((2 * distance + 1,) * 2, np.uint8)
    inside = cv2.erode(values, square) == cv2.dilate(values, square)  # looks at the image only
    inside[:distance] = inside[len(inside) - distance :] = False
    inside[:, :distance] = inside[:, inside.shape[1] - distance :] = False
    return np.where(inside, np.uint8(NEITHER), values)
