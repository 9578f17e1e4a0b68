"""Confusion matrix and the measures of semantic segmentation drawn from it.

Definitions of mmsegmentation (intersect_and_union, mean_iou), summed over the data set: pixels with
the ignored label do not count, IoU = I / (P + L - I), accuracy = I / L, a class without union is
left out of the means. One difference in form: a prediction outside the classes has a column of its
own. It counts as wrong there as here, by way of L.
"""

from typing import Any

import numpy as np


class Confusion:
    """Pixel counts by (label, prediction), int64 K x (K + 1).

    Rows are labels, the last column is "predicted outside the classes". Matrices of several
    processes may be added: `matrix` is plain numpy.
    """

    def __init__(self, num_classes: int, ignore_index: int):
        if not 0 < num_classes <= 255:
            raise ValueError(f"num_classes is {num_classes}, expected 1..255")
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.matrix = np.zeros((num_classes, num_classes + 1), dtype=np.int64)

    def update(self, prediction: np.ndarray, label: np.ndarray) -> None:
        """Adds an image: integer maps (H, W) of class indices, fastest in uint8.

        ValueError for unequal sizes and for a label that is neither a class nor ignored.
        """
        self.matrix += self.count(prediction, label)

    def count(self, prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
        """The matrix of one image, int64 K x (K + 1); adds nothing. Errors as in `update`."""
        if prediction.shape != label.shape:
            raise ValueError(f"prediction is {prediction.shape}, label {label.shape}")
        if label.dtype != np.uint8:
            prediction, label = self._labelled(prediction, label)
        counts = count_pairs(label, self._as_bytes(prediction))
        if 0 <= self.ignore_index < 256:
            counts[self.ignore_index] = 0
        self._refuse(np.flatnonzero(counts[self.num_classes :].any(axis=1)) + self.num_classes)
        outside = counts[: self.num_classes, self.num_classes :].sum(axis=1, keepdims=True)
        return np.hstack([counts[: self.num_classes, : self.num_classes], outside])

    def results(self) -> dict[str, Any]:
        """Fractions: miou, aacc, macc, fwiou, iou and acc by class, and the matrix.

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
            "miou": mean(iou),
            "aacc": float(hits.sum() / total) if total else None,
            "macc": mean(acc),
            "fwiou": float(weighted / total) if total else None,
            "iou": nullable(iou),
            "acc": nullable(acc),
            "confusion": self.matrix.tolist(),
        }

    def _labelled(self, prediction: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pixels that count, flat, label in bytes."""
        label, prediction = label.ravel(), prediction.ravel()
        kept = label != self.ignore_index
        label, prediction = label[kept], prediction[kept]
        self._refuse(np.unique(label[(label < 0) | (label >= self.num_classes)]))
        return prediction, label.astype(np.uint8)

    def _as_bytes(self, prediction: np.ndarray) -> np.ndarray:
        if prediction.dtype == np.uint8:
            return prediction
        inside = (prediction >= 0) & (prediction < self.num_classes)
        return np.where(inside, prediction, 255).astype(np.uint8)  # K <= 255: 255 is no class

    def _refuse(self, values: np.ndarray) -> None:
        if values.size:
            found = ", ".join(str(value) for value in values[:10])
            raise ValueError(
                f"label value {found} is neither a class (0..{self.num_classes - 1})"
                f" nor ignored ({self.ignore_index})"
            )


def count_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How often each pair of values occurs in two uint8 arrays of equal shape: int64 256 x 256."""
    codes = (first.astype(np.uint16) << 8 | second).ravel()
    # Label maps are mostly flat: counting runs beats counting pixels, except on noise.
    ends = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    if ends.size > codes.size // 4:
        return np.bincount(codes, minlength=1 << 16).reshape(256, 256)
    starts = np.concatenate(([0], ends))[: codes.size]
    lengths = np.diff(starts, append=codes.size)
    counts = np.bincount(codes[starts], weights=lengths, minlength=1 << 16)
    return counts.astype(np.int64).reshape(256, 256)  # float64 counts are exact below 2^53


def mean(values: np.ndarray) -> float | None:
    """Of what is not NaN; None if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def nullable(values: np.ndarray) -> list[float | None]:
    """None for NaN."""
    return [None if np.isnan(value) else float(value) for value in values]
