"""Pixel counts of semantic segmentation and the measures computed from them.

The confusion matrix follows mmsegmentation (intersect_and_union, mean_iou), summed over the data
set: pixels with the ignored label do not count, IoU = I / (P + L - I), accuracy = I / L, and a
class without union is left out of the means. The one difference in form is that predictions outside
the classes have a column of their own. They count as wrong in both, since L contains them.

Boundary IoU is that of Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation" (CVPR 2021), by class over a data set. The boundary of a mask is the part of it that
lies no further than d from its contour, d being 0.02 of the image's diagonal: the mask less its
erosion by a square of side 2 d + 1, where the image's edge is contour too. A pixel of a label map
keeps its class under that erosion exactly if the square around it holds no other class, so one
smallest and one largest value over squares give the boundaries of all classes at once.
"""

import math
from typing import Any, NamedTuple

import cv2
import numpy as np

BOUNDARY_RATIO = 0.02
NEITHER = 255  # no class: num_classes is at most 255


class Confusion:
    """Pixel counts by (label, prediction): `matrix`, int64 K x (K + 1), which may be added up.

    Rows are labels, the last column is "predicted outside the classes".
    """

    def __init__(self, num_classes: int, ignore_index: int):
        if not 0 < num_classes <= 255:
            raise ValueError(f"num_classes is {num_classes}, expected 1..255")
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.matrix = np.zeros((num_classes, num_classes + 1), dtype=np.int64)

    def update(self, prediction: np.ndarray, label: np.ndarray) -> None:
        """Adds an image; arguments and errors as in `count`."""
        self.matrix += self.count(prediction, label)

    def count(self, prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Returns the matrix of one image, int64 K x (K + 1), and adds nothing.

        The maps (H, W) hold class indices as integers, fastest in uint8. ValueError for unequal
        sizes and for a label that is neither a class nor ignored.
        """
        if prediction.shape != label.shape:
            raise ValueError(f"prediction is {prediction.shape}, label {label.shape}")
        classes = self.num_classes
        if label.dtype != np.uint8:
            kept = label != self.ignore_index
            label, prediction = label[kept], prediction[kept]
            self._refuse(np.unique(label[(label < 0) | (label >= classes)]))
            label = label.astype(np.uint8)
        if prediction.dtype != np.uint8:
            inside = (prediction >= 0) & (prediction < classes)
            prediction = np.where(inside, prediction, NEITHER).astype(np.uint8)
        counts = count_pairs(label, prediction)
        if 0 <= self.ignore_index < 256:
            counts[self.ignore_index] = 0
        self._refuse(np.flatnonzero(counts[classes:].any(axis=1)) + classes)
        outside = counts[:classes, classes:].sum(axis=1, keepdims=True)
        return np.hstack([counts[:classes, :classes], outside])

    def _refuse(self, values: np.ndarray) -> None:
        if values.size:
            found = ", ".join(str(value) for value in values[:10])
            raise ValueError(
                f"label value {found} is neither a class (0..{self.num_classes - 1})"
                f" nor ignored ({self.ignore_index})"
            )

    def compute_measures(self) -> dict[str, Any]:
        """Returns fractions miou, aacc, macc, fwiou, iou and acc by class, and the matrix.

        None where there is nothing to divide by: the IoU of a class in neither labels nor
        predictions, the accuracy of a class without labels, means over no class.
        """
        hits = np.diag(self.matrix).astype(np.float64)
        labels = self.matrix.sum(axis=1)
        union = labels + self.matrix[:, :-1].sum(axis=0) - hits
        with np.errstate(invalid="ignore"):
            iou, acc = hits / union, hits / labels
        total = labels.sum()
        weighted = (labels * np.nan_to_num(iou)).sum()
        return {
            "miou": _average(iou),
            "aacc": float(hits.sum() / total) if total else None,
            "macc": _average(acc),
            "fwiou": float(weighted / total) if total else None,
            "iou": _replace_nan(iou),
            "acc": _replace_nan(acc),
            "confusion": self.matrix.tolist(),
        }


class ImageCounts(NamedTuple):
    """Pixels of one image: confusion matrix K x (K + 1) and boundaries 3 x K, int64."""

    confusion: np.ndarray
    boundary: np.ndarray


class Evaluation:
    """Counts of a split, summed image by image; `count` may run in any thread, `add` in one.

    predictions: label maps by name, of the images that a caller wants kept.
    """

    def __init__(self, num_classes: int, ignore_index: int):
        self.confusion = Confusion(num_classes, ignore_index)
        self.boundary = np.zeros((3, num_classes), dtype=np.int64)
        self.names: list[str] = []
        self.images: list[np.ndarray] = []  # 3 x K each
        self.predictions: dict[str, np.ndarray] = {}

    def count(self, prediction: np.ndarray, label: np.ndarray) -> ImageCounts:
        """Counts one image, uint8 maps (H, W); errors as in `Confusion.count`."""
        matrix = self.confusion.count(prediction, label)
        return ImageCounts(matrix, count_boundaries(prediction, label, self.confusion))

    def add(self, name: str, counts: ImageCounts) -> None:
        self.confusion.matrix += counts.confusion
        self.boundary += counts.boundary
        classes = counts.confusion[:, :-1]
        rows = [np.diag(classes), classes.sum(axis=0), counts.confusion.sum(axis=1)]
        self.names.append(name)
        self.images.append(np.stack(rows))

    @property
    def results(self) -> dict[str, Any]:
        """The measures of `Confusion` and `compute_boundary_iou`."""
        return self.confusion.compute_measures() | compute_boundary_iou(self.boundary)

    @property
    def per_image(self) -> dict[str, np.ndarray]:
        """`names` (N) and `intersection`, `predicted` and `labelled` pixels, int64 N x K.

        Images keep their order. Ignored pixels and predictions outside the classes do not count.
        """
        rows = np.stack(self.images) if self.images else np.zeros((0, *self.boundary.shape), int)
        kinds = ("intersection", "predicted", "labelled")
        names = np.array(self.names, dtype=np.str_)
        return {"names": names} | {kind: rows[:, i] for i, kind in enumerate(kinds)}


def count_boundaries(prediction: np.ndarray, label: np.ndarray, classes: Confusion) -> np.ndarray:
    """Counts boundary pixels by class, int64 3 x K: intersection, predicted, labelled.

    uint8 maps (H, W) of equal size. Ignored pixels belong to no class in either map, so that a
    prediction there neither counts nor has a contour of its own.
    """
    ignored = label == classes.ignore_index
    width = measure_boundary_width(label.shape)
    maps = [np.where(ignored, NEITHER, values) for values in (label, prediction)]
    pairs = count_pairs(*(_keep_boundaries(values, width) for values in maps))
    counts = np.stack([np.diag(pairs), pairs.sum(axis=0), pairs.sum(axis=1)])
    return counts[:, : classes.num_classes]


def compute_boundary_iou(counts: np.ndarray) -> dict[str, Any]:
    """Returns fractions `boundary_iou` by class and their mean; None for a class in neither map."""
    intersection, predicted, labelled = counts.astype(np.float64)
    with np.errstate(invalid="ignore"):
        iou = intersection / (predicted + labelled - intersection)
    return {"boundary_iou": _replace_nan(iou), "mean_boundary_iou": _average(iou)}


def measure_boundary_width(size: tuple[int, ...]) -> int:
    """d in pixels for an image of `size` (H, W)."""
    return max(round(BOUNDARY_RATIO * math.hypot(*size)), 1)


def _keep_boundaries(values: np.ndarray, width: int) -> np.ndarray:
    """Returns a uint8 map (H, W) with 255 where the square around a pixel holds one class."""
    square = np.ones((2 * width + 1,) * 2, np.uint8)
    inside = cv2.erode(values, square) == cv2.dilate(values, square)  # ignores the border
    inside[:width] = inside[len(inside) - width :] = False
    inside[:, :width] = inside[:, inside.shape[1] - width :] = False
    return np.where(inside, np.uint8(NEITHER), values)


def count_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Counts how often each pair of values occurs in two uint8 arrays of one shape: 256 x 256."""
    codes = (first.astype(np.uint16) << 8 | second).ravel()
    # Label maps are mostly flat: counting runs beats counting pixels, except on noise.
    ends = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    if ends.size > codes.size // 4:
        return np.bincount(codes, minlength=1 << 16).reshape(256, 256)
    starts = np.concatenate(([0], ends))[: codes.size]
    lengths = np.diff(starts, append=codes.size)
    counts = np.bincount(codes[starts], weights=lengths, minlength=1 << 16)
    return counts.astype(np.int64).reshape(256, 256)  # float64 counts are exact below 2^53


def _average(values: np.ndarray) -> float | None:
    """Mean of the values that are not NaN; None if all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _replace_nan(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
