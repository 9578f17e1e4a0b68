"""What a dataset turned out to be: counts, sizes, classes, faults, as one JSON."""

from collections import Counter
from typing import Any

import numpy as np

from lemore.config.dataset import DatasetConfig
from lemore.config.labels import IGNORE
from lemore.data.prepare.samples import Prepared


class SplitAudit:
    """Adds up one split, sample by sample."""

    def __init__(self, name: str, expected: int | None, classes: list[str]):
        self.name, self.expected, self.classes = name, expected, classes
        self.count = 0
        self.pixels = np.zeros(max(256, len(classes)), np.int64)
        self.images = np.zeros(max(256, len(classes)), np.int64)
        self.raw: Counter[int] = Counter()
        self.modes: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.bytes: dict[str, int] = {}  # of the store, by pack
        self.quarantined: list[dict[str, str]] = []

    def add(self, sample: Prepared) -> None:
        if sample.problem is not None:
            fault = {"split": self.name, "name": sample.name, "kind": sample.kind}
            self.quarantined.append(fault | {"problem": sample.problem})
            return
        self.count += 1
        for train_id, number in sample.pixels.items():
            self.pixels[train_id] += number
            self.images[train_id] += 1
        self.raw.update(sample.raw)
        self.modes[sample.mode] += 1
        self.examples.setdefault(sample.mode, sample.name)
        self.sizes[sample.size] += 1

    def results(self, ignores: bool) -> dict[str, Any]:
        """JSON of this split; `pixels` counts label pixels (classification: images) by class."""
        number = len(self.classes)
        total = int(self.pixels.sum())
        return {
            "count": self.count,
            "expected": self.expected,
            "modes": dict(self.modes.most_common()),
            "mode_examples": self.examples,
            "raw_pixels": {str(value): self.raw[value] for value in sorted(self.raw)},
            "sizes": self._sizes(),
            "bytes": self.bytes,
            "ignored_share": float(self.pixels[IGNORE] / max(total, 1)) if ignores else 0.0,
            "pixels": self.pixels[:number].tolist(),
            "images": self.images[:number].tolist(),
            "unseen": [self.classes[k] for k in range(number) if self.images[k] == 0],
        }

    def _sizes(self) -> dict[str, Any]:
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
    """audit.json without what prepare alone knows; `problems` are what the owner must look at."""
    ignores = config.task == "segmentation"
    splits = {audit.name: audit.results(ignores) for audit in audits}
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
        "problems": count_problems(audits),
    }


def count_problems(audits: list[SplitAudit]) -> list[str]:
    """Splits whose number of images is not the expected one."""
    return [
        f"split '{audit.name}' has {audit.count} images, expected {audit.expected}"
        for audit in audits
        if audit.expected not in (None, audit.count + len(audit.quarantined))
    ]


def duplicates(names_by_hash: dict[str, list[str]]) -> list[list[str]]:
    """Groups of samples whose photos are the same bytes, across splits too."""
    return [names for names in names_by_hash.values() if len(names) > 1]
