"""All measures of a data set, from the counts of its images."""

from typing import Any, NamedTuple

import numpy as np

from lemore.evaluation.boundary import BoundaryIoU
from lemore.evaluation.metrics import Confusion


class Counts(NamedTuple):
    """Pixels of one image: confusion matrix K x (K + 1) and boundaries 3 x K, int64."""

    confusion: np.ndarray
    boundary: np.ndarray


class Measures:
    """Adds up images. `count` may run in any thread, `add` in one."""

    def __init__(self, num_classes: int, ignore_index: int):
        self.confusion = Confusion(num_classes, ignore_index)
        self.boundary = BoundaryIoU(num_classes, ignore_index)
        self._images: list[np.ndarray] = []

    def count(self, prediction: np.ndarray, label: np.ndarray) -> Counts:
        """Of one image: uint8 maps (H, W). Errors as in `Confusion.update`."""
        return Counts(
            self.confusion.count(prediction, label), self.boundary.count(prediction, label)
        )

    def add(self, counts: Counts) -> None:
        self.confusion.matrix += counts.confusion
        self.boundary.counts += counts.boundary
        classes = counts.confusion[:, :-1]
        rows = [np.diag(classes), classes.sum(axis=0), counts.confusion.sum(axis=1)]
        self._images.append(np.stack(rows))

    def results(self) -> dict[str, Any]:
        """Those of `Confusion` and `BoundaryIoU`."""
        return self.confusion.results() | self.boundary.results()

    def per_image(self) -> dict[str, np.ndarray]:
        """`intersection`, `predicted` and `labelled` pixels, int64 N x K, in the order added.

        Ignored pixels do not count, nor do predictions outside the classes.
        """
        classes = self.confusion.num_classes
        rows = np.stack(self._images) if self._images else np.zeros((0, 3, classes), np.int64)
        names = ("intersection", "predicted", "labelled")
        return {name: rows[:, i] for i, name in enumerate(names)}
