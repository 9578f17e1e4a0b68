"""What prepare is about to do with a dataset, in words, before it writes anything."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.data.archives import images
from lemore.data.archives.archives import Member
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample, find_reader, to_train_ids

LOOKED_AT = 20  # samples whose masks are opened, spread over the split
SHOWN = 3


def explain(config: DatasetConfig, source: Source) -> Iterator[tuple[bool, str]]:
    """(whether it is a fault, line of text): per split the pairs, what lacks its other half, and
    what the masks hold."""
    reader = find_reader(config)
    yield False, f"{config.title}: reading {source.describe()} ({reader.annotation(source)})"
    for split in config.splits:
        samples = list(reader.samples(source, split))
        whole = [s for s in samples if s.image is not None and s.label is not None]
        yield False, f"{split}: {len(whole)} images with their annotation{_first(whole)}"
        yield from _unpaired("images without annotation", [s for s in samples if s.label is None])
        yield from _unpaired("annotations without image", [s for s in samples if s.image is None])
        if config.task == "segmentation" and whole:
            yield from _masks(config, whole)


def _first(samples: list[RawSample]) -> str:
    if not samples or samples[0].image is None:
        return ""
    label = samples[0].label
    other = f" and {label.name}" if isinstance(label, Member) else ""
    return f", the first: {samples[0].image.name}{other}"


def _unpaired(what: str, samples: list[RawSample]) -> Iterator[tuple[bool, str]]:
    if samples:
        names = ", ".join(f"'{sample.name}'" for sample in samples[:SHOWN])
        more = " ..." if len(samples) > SHOWN else ""
        yield False, f"  {len(samples)} {what}: {names}{more}"


def _masks(config: DatasetConfig, samples: list[RawSample]) -> Iterator[tuple[bool, str]]:
    """Share of each class in some of the masks, and what is wrong with them."""
    table, reader = labels.of(config), find_reader(config)
    chosen = {int(i) for i in np.linspace(0, len(samples) - 1, min(LOOKED_AT, len(samples)))}
    pixels: Counter[int] = Counter()
    faults = []
    for i in sorted(chosen):
        try:
            pixels.update(_counted(samples[i], reader, table))
        except (ValueError, OSError) as error:
            faults.append(f"'{samples[i].name}': {error}")
    if faults:
        yield True, f"  wrong: {len(faults)} of {len(chosen)} masks that were opened cannot be used"
        yield from ((True, f"  wrong: {fault}") for fault in faults[:SHOWN])
    if not pixels:
        return
    total = max(sum(pixels.values()), 1)
    shares = [f"{_name(table, k)} {100 * n / total:.1f} %" for k, n in pixels.most_common(8)]
    unseen = len(table.names) - len(pixels.keys() - {labels.IGNORE})
    number = len(chosen) - len(faults)
    yield False, f"  in {number} masks: {', '.join(shares)}; {unseen} classes not seen in them"


def _counted(sample: RawSample, reader: Any, table: labels.LabelTable) -> dict[int, int]:
    assert sample.image is not None
    height, width = images.decode_rgb(sample.image.read()).shape[:2]
    train_ids = to_train_ids(reader.read_label(sample.label, (height, width)), table)
    found, counts = np.unique(train_ids, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _name(table: labels.LabelTable, train_id: int) -> str:
    return "ignored" if train_id == labels.IGNORE else table.names[train_id]
