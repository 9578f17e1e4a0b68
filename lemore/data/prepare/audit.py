"""The audit of a prepared dataset: counts, sizes, classes and faults, as one JSON."""

from collections import Counter
from typing import Any

import numpy as np

from lemore.config.dataset import DatasetConfig
from lemore.config.labels import IGNORE
from lemore.data.prepare.samples import PreparedSample


class SplitAudit:
    """Adds up one split, sample by sample."""

    def __init__(self, name: str, expected: int | None, classes: list[str]):
        self.name, self.expected, self.classes = name, expected, classes
        self.count = 0
        self.blank = 0  # photos without any polygon
        self.pixels: Counter[int] = Counter()  # by train id
        self.images: Counter[int] = Counter()
        self.raw: Counter[int] = Counter()
        self.modes: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.bytes: dict[str, int] = {}  # of the store, by pack
        self.quarantined: list[dict[str, str]] = []

    def add(self, sample: PreparedSample) -> None:
        if sample.problem is not None:
            fault = {"split": self.name, "name": sample.name, "kind": sample.kind}
            self.quarantined.append(fault | {"problem": sample.problem})
            return
        self.count += 1
        self.pixels.update(sample.pixels)
        self.images.update(sample.pixels.keys())
        self.raw.update(sample.raw)
        self.modes[sample.mode] += 1
        self.examples.setdefault(sample.mode, sample.name)
        self.sizes[sample.size] += 1

    def report(self, ignores: bool) -> dict[str, Any]:
        """Makes this split's JSON; `pixels` are label pixels by class (classification: images)."""
        total = max(self.pixels.total(), 1)
        return {
            "count": self.count,
            "expected": self.expected,
            "blank": self.blank,
            "modes": dict(self.modes.most_common()),
            "mode_examples": self.examples,
            "raw_pixels": {str(value): self.raw[value] for value in sorted(self.raw)},
            "sizes": self._summarize_sizes(),
            "bytes": self.bytes,
            "ignored_share": self.pixels[IGNORE] / total if ignores else 0.0,
            "pixels": [self.pixels[k] for k in range(len(self.classes))],
            "images": [self.images[k] for k in range(len(self.classes))],
            "unseen": [name for k, name in enumerate(self.classes) if not self.images[k]],
        }

    def _summarize_sizes(self) -> dict[str, Any]:
        """Least, median and largest (height, width), and the most common sizes with their count."""
        if not self.sizes:
            return {}
        all_sizes = np.repeat(np.array(list(self.sizes)), list(self.sizes.values()), axis=0)
        return {
            "min": all_sizes.min(axis=0).tolist(),
            "median": np.median(all_sizes, axis=0).tolist(),
            "max": all_sizes.max(axis=0).tolist(),
            "common": [[*size, count] for size, count in self.sizes.most_common(5)],
        }


def report(
    name: str, config: DatasetConfig, classes: list[str], audits: list[SplitAudit]
) -> dict[str, Any]:
    """Makes audit.json without what prepare alone knows.

    `problems` are what the owner must look at: splits of another size than expected.
    """
    ignores = config.task == "segmentation"
    splits = {audit.name: audit.report(ignores) for audit in audits}
    first = splits[audits[0].name]
    seen = max(sum(first["pixels"]), 1)
    return {
        "dataset": name,
        "title": config.title,
        "task": config.task,
        "stands_for": config.stands_for,
        "scenes": config.scenes is not None,
        "licence": config.licence,
        "num_classes": config.num_classes,
        "classes": classes,
        "splits": splits,
        "class_frequencies": [pixels / seen for pixels in first["pixels"]],
        "quarantined": [fault for audit in audits for fault in audit.quarantined],
        "problems": [
            f"split '{audit.name}' has {audit.count} images, expected {audit.expected}"
            for audit in audits
            if audit.expected not in (None, audit.count + len(audit.quarantined))
        ],
    }
