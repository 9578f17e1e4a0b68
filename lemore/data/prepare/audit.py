"""The audit of a prepared dataset: counts, sizes, classes and faults, as one JSON."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lemore.config.dataset import DatasetConfig
from lemore.config.labels import IGNORE
from lemore.data.archives.images import SUFFIXES
from lemore.data.prepare.boxes import BEYOND, FLAT
from lemore.data.prepare.samples import NEARLY_BLACK, PreparedSample

log = logging.getLogger(__name__)
SHOWN = 5  # names in a message
MOST_UNUSED = 1000  # files that audit.json lists


class SplitAudit:
    """Adds up one split, sample by sample."""

    def __init__(self, name: str, config: DatasetConfig, classes: list[str]):
        self.name, self.expected, self.classes = name, config.splits[name], classes
        self.threshold = config.files.threshold if config.files else None
        self.count = 0
        self.detects = config.task == "detection"
        self.blank = 0  # photos without any polygon or box
        self.boxes: Counter[str] = Counter()  # crowds and odd ones, of detection
        self.odd: defaultdict[str, list[str]] = defaultdict(list)  # the samples that have them
        self.unread = 0  # samples that a dry run has not opened
        self.pixels: Counter[int] = Counter()  # by train id
        self.images: Counter[int] = Counter()
        self.raw: Counter[int] = Counter()
        self.modes: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.bytes: dict[str, int] = {}  # of the store, by pack
        self.quarantined: list[dict[str, str]] = []
        self.one_sided: list[str] = []  # binary masks of several values, all of one class

    @property
    def found(self) -> int:
        """Number of samples, faulty and unread ones included."""
        return self.count + len(self.quarantined) + self.unread

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
        self.blank += self.detects and not sample.pixels
        self.boxes.update(sample.boxes)
        for kind, number in sample.boxes.items():
            self.odd[kind] += [sample.name] * (number > 0)
        if self.threshold is not None and len(sample.pixels) == 1 < len(sample.raw):
            self.one_sided.append(f"{sample.name} ({min(sample.raw)} to {max(sample.raw)})")

    def report(self, ignores: bool) -> dict[str, Any]:
        """Makes this split's JSON; `pixels` are label pixels by class (classification: images,
        detection: boxes)."""
        total = max(self.pixels.total(), 1)
        return {
            "count": self.count,
            "expected": self.expected,
            "blank": self.blank,
            "boxes": dict(self.boxes),
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
    name: str,
    config: DatasetConfig,
    classes: list[str],
    audits: list[SplitAudit],
    by_hash: Mapping[str, list[str]],
    unused: list[str],
) -> dict[str, Any]:
    """Makes audit.json without what prepare alone knows.

    `by_hash`: "split/name" of the photos, by their content; `unused`: the files that are in no
    split. `problems`: splits of another size than expected, which an owner may consent to;
    `errors`: why the dataset cannot be used; `warnings`: what its owner must know.
    """
    duplicates = [names for names in by_hash.values() if len(names) > 1]
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
            f"split '{audit.name}' has {audit.count + audit.unread} images, "
            f"expected {audit.expected}"
            for audit in audits
            if audit.expected not in (None, audit.found)
        ],
        "errors": list(_find_errors(config, audits)),
        "warnings": list(_find_warnings(audits, duplicates, unused)),
        "duplicates": duplicates,
        "unused": {"count": len(unused), "files": unused[:MOST_UNUSED]},
    }


def find_problem(result: dict[str, Any], allow_partial: bool, limit: int) -> str | None:
    """Says why the dataset is not fit to be used, or returns None; logs what is tolerated.

    `limit`: the faulty samples that may be left out.
    """
    name, faults = result["dataset"], result["quarantined"]
    if len(faults) > limit:
        first = "; ".join(f"{fault['problem']}" for fault in faults[:3])
        return f"{len(faults)} unusable samples (quarantine_limit {limit}): {first}"
    for fault in faults:
        log.warning("left out: %s", fault["problem"])
    for text in (*result["problems"], *result["warnings"]):
        log.warning("%s: %s", name, text)
    if result["problems"] and not allow_partial:
        text = "; ".join(result["problems"])
        return f"{name}: {text} (--allow-partial takes it as it is)"
    return f"{name}: {'; '.join(result['errors'])}" if result["errors"] else None


def _find_errors(config: DatasetConfig, audits: list[SplitAudit]) -> Iterator[str]:
    for audit in audits:
        unasked = audit.quarantined or audit.expected is None  # else one may consent to it
        if unasked and not audit.count + audit.unread:
            drawn = config.files is not None and config.files.draw is not None
            remedy = "; draw with another files.draw.seed or larger shares" if drawn else ""
            yield f"split '{audit.name}' is empty, no usable image is in it{remedy}"
    first = audits[0]
    seen = [name for k, name in enumerate(first.classes) if first.images[k]]
    if config.task == "detection" and first.count and not seen:
        yield f"no image of split '{first.name}' has a box"
    if config.task == "segmentation" and first.count and len(seen) < 2:
        only = f"only the class '{seen[0]}'" if seen else "no class"
        values = f"; values found: {_shorten(sorted(first.raw))}"
        if first.threshold is not None:
            values = f" at files.threshold {first.threshold}{values}"
        yield f"the masks of split '{first.name}' show {only}{values}"


def _find_warnings(
    audits: list[SplitAudit], duplicates: list[list[str]], unused: list[str]
) -> Iterator[str]:
    for audit in audits:
        absent = [name for k, name in enumerate(audit.classes) if not audit.images[k]]
        if absent and audit.count:
            where = f"in the {audit.count} samples that were opened" if audit.unread else "in it"
            yield (
                f"split '{audit.name}': {len(absent)} of {len(audit.classes)} classes do not occur "
                f"{where}: {_shorten(absent)}"
            )
        for mode, number in audit.modes.items():
            if mode.endswith(NEARLY_BLACK):
                yield (
                    f"split '{audit.name}': {number} photos are nearly black, since only the upper "
                    f"8 of their 16 bits are read, such as {audit.examples[mode]}: scale them"
                )
        yield from _find_odd_boxes(audit)
        if audit.one_sided:
            yield (
                f"split '{audit.name}': {len(audit.one_sided)} masks hold several values, all on "
                f"one side of files.threshold {audit.threshold}: {_shorten(audit.one_sided)}"
            )
    crossing = find_crossing(duplicates)
    if crossing:
        yield (
            f"{len(crossing)} photos are in more than one split, so accuracy is measured on photos "
            f"that were trained on: {_shorten([' = '.join(names) for names in crossing])}"
        )
    if within := len(duplicates) - len(crossing):
        yield f"{within} groups of identical photos within a split"
    if photos := [name for name in unused if name.lower().endswith(SUFFIXES)]:
        yield (
            f"{len(photos)} image files are used by no split (no pattern fits them, or no list "
            f"names them): {_shorten(photos)}"
        )


def _find_odd_boxes(audit: SplitAudit) -> Iterator[str]:
    for kind, what in ((FLAT, "no training takes"), (BEYOND, "are cut to it")):
        if number := audit.boxes[kind]:
            names = _shorten(audit.odd[kind])
            yield f"split '{audit.name}': boxes {kind}, which {what}: {number} (in {names})"


def find_crossing(duplicates: list[list[str]]) -> list[list[str]]:
    """Returns those groups of "split/name" that lie in more than one split."""
    return [names for names in duplicates if len({name.split("/", 1)[0] for name in names}) > 1]


def _shorten(names: Sequence[Any]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more
