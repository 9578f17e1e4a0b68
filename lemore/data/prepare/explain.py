"""Describes what prepare has found of a dataset, before it writes anything."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from lemore.config.dataset import DatasetConfig
from lemore.config.labels import IGNORE
from lemore.data.archives.members import Member
from lemore.data.archives.source import Source
from lemore.data.prepare import audit
from lemore.data.prepare.samples import (
    BLANK,
    PreparedSample,
    RawSample,
    find_reader,
    list_classes,
    list_splits,
    list_unused,
    prepare_sample,
)

log = logging.getLogger(__name__)
LOOKED_AT = 20  # samples that are opened, spread over the split
SHOWN = 3


def explain(name: str, config: DatasetConfig, source: Source) -> dict[str, Any]:
    """Logs what a dataset holds, by its file lists and some samples of each split.

    Returns the audit of these samples, as prepare makes it of all.
    """
    annotation = find_reader(config).describe_annotation(source)
    log.info("%s: reading %s (%s)", config.title, source.describe(), annotation)
    classes, splits = list_classes(config, source), list_splits(config, source)
    audits: list[audit.SplitAudit] = []
    by_hash: dict[str, list[str]] = defaultdict(list)
    for split, samples in splits.items():
        whole = [s for s in samples if s.image is not None and s.label is not None]
        _log_pairs(split, whole, samples)
        summary = audit.SplitAudit(split, config, classes)
        for sample in (s for s in samples if s.image is None or s.label is None):
            summary.add(prepare_sample(config, sample))
        opened = list(_open_some(config, whole, 0 if audits else min(2, config.num_classes)))
        for sample in opened:
            summary.add(sample)
            if sample.problem is None:
                by_hash[sample.image_sha256].append(f"{split}/{sample.name}")
        summary.blank += sum(sample.label == BLANK for sample in samples)
        summary.unread = len(whole) - len(opened)
        _log_content(summary, opened)
        audits.append(summary)
    unused = list_unused(config, source, splits)
    return audit.report(name, config, classes, audits, by_hash, unused)


def _log_pairs(split: str, whole: list[RawSample], samples: list[RawSample]) -> None:
    first = ""
    if whole and whole[0].image is not None:
        other = f" and {whole[0].label.name}" if isinstance(whole[0].label, Member) else ""
        first = f", the first: {whole[0].image.name}{other}"
    log.info("%s: %d images with their annotation%s", split, len(whole), first)
    for what, alone in (
        ("images without annotation", [s.name for s in samples if s.label is None]),
        ("annotations without image", [s.name for s in samples if s.image is None]),
        ("of the images have no polygon", [s.name for s in samples if s.label == BLANK]),
    ):
        if alone:
            names = ", ".join(f"'{name}'" for name in alone[:SHOWN])
            more = " ..." if len(alone) > SHOWN else ""
            log.warning("  %d %s: %s%s", len(alone), what, names, more)


def _open_some(
    config: DatasetConfig, samples: list[RawSample], least: int
) -> Iterator[PreparedSample]:
    """Prepares some samples, spread over the split; more of them while fewer classes are seen than
    `least`."""
    chosen = {int(i) for i in np.linspace(0, len(samples) - 1, min(LOOKED_AT, len(samples)))}
    others = (i for i in range(len(samples)) if i not in chosen)
    seen: set[int] = set()
    for i in sorted(chosen):
        yield (sample := prepare_sample(config, samples[i]))
        seen |= sample.pixels.keys() - {IGNORE}
    while len(seen) < least and (i := next(others, None)) is not None:
        yield (sample := prepare_sample(config, samples[i]))
        seen |= sample.pixels.keys() - {IGNORE}


def _log_content(summary: audit.SplitAudit, opened: list[PreparedSample]) -> None:
    """Logs the share of each class in the samples that were opened, and their faults."""
    faults = [sample.problem for sample in opened if sample.problem is not None]
    if faults:
        summary_text = f"{len(faults)} of {len(opened)} samples that were read cannot be used"
        for text in (summary_text, *faults[:SHOWN]):
            log.warning("  wrong: %s", text)
    pixels: Counter[int] = summary.pixels
    if not pixels:
        return
    shares = ", ".join(
        f"{'ignored' if k == IGNORE else summary.classes[k]} {100 * n / pixels.total():.1f} %"
        for k, n in pixels.most_common(8)
    )
    missing = len(summary.classes) - len(pixels.keys() - {IGNORE})
    unseen = f"; {missing} classes not seen in them" if missing else ""
    log.info("  in %d samples: %s%s", summary.count, shares, unseen)
