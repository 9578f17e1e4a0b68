"""Describes what prepare has found of a dataset, before it writes anything."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from lemore.config.dataset import DatasetConfig
from lemore.config.labels import IGNORE, find_table
from lemore.data.archives.members import Member
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import BLANK, RawSample, find_reader, prepare_sample

LOOKED_AT = 20  # samples whose masks are opened, spread over the split
SHOWN = 3


def explain(config: DatasetConfig, source: Source) -> Iterator[tuple[bool, str]]:
    """Yields (whether it is a fault, line of text): per split the pairs, files without their other
    half, and the content of the masks."""
    reader = find_reader(config)
    annotation = reader.describe_annotation(source)
    yield False, f"{config.title}: reading {source.describe()} ({annotation})"
    for split in config.splits:
        samples = list(reader.list_samples(source, split))
        whole = [s for s in samples if s.image is not None and s.label is not None]
        first = ""
        if whole and whole[0].image is not None:
            other = f" and {whole[0].label.name}" if isinstance(whole[0].label, Member) else ""
            first = f", the first: {whole[0].image.name}{other}"
        yield False, f"{split}: {len(whole)} images with their annotation{first}"
        for what, alone in (
            ("images without annotation", [s.name for s in samples if s.label is None]),
            ("annotations without image", [s.name for s in samples if s.image is None]),
            ("of the images have no polygon", [s.name for s in samples if s.label == BLANK]),
        ):
            if alone:
                names = ", ".join(f"'{name}'" for name in alone[:SHOWN])
                more = " ..." if len(alone) > SHOWN else ""
                yield False, f"  {len(alone)} {what}: {names}{more}"
        if config.task == "segmentation" and whole:
            yield from _explain_masks(config, whole)


def _explain_masks(config: DatasetConfig, samples: list[RawSample]) -> Iterator[tuple[bool, str]]:
    """Yields the share of each class in some of the masks, and their faults."""
    chosen = {int(i) for i in np.linspace(0, len(samples) - 1, min(LOOKED_AT, len(samples)))}
    prepared = [prepare_sample(config, samples[i]) for i in sorted(chosen)]
    faults = [sample.problem for sample in prepared if sample.problem is not None]
    if faults:
        summary = f"{len(faults)} of {len(chosen)} samples that were read cannot be used"
        yield from ((True, f"  wrong: {text}") for text in (summary, *faults[:SHOWN]))
    pixels: Counter[int] = Counter()
    for sample in prepared:
        pixels.update(sample.pixels)
    if not pixels:
        return
    total, names = sum(pixels.values()), find_table(config).names
    shares = ", ".join(
        f"{'ignored' if k == IGNORE else names[k]} {100 * number / total:.1f} %"
        for k, number in pixels.most_common(8)
    )
    unseen = len(names) - len(pixels.keys() - {IGNORE})
    sound = len(chosen) - len(faults)
    yield False, f"  in {sound} masks: {shares}; {unseen} classes not seen in them"
