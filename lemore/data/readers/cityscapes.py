"""Cityscapes with fine annotations: labelIds PNGs 0..33 of gtFine, photos of leftImg8bit.

Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016. A table
on labelIds gives the same image as drawing the polygons with train ids again: in both, polygons
with a negative id are skipped and the order is the same.
"""

from collections.abc import Iterator

from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample, pair_files


def list_samples(source: Source, split: str) -> Iterator[RawSample]:
    """Samples of 'train' or 'val', sorted by name (aachen_000000_000019, ...)."""
    photos = source.match(rf"leftImg8bit/{split}/[^/]+/([^/]+)_leftImg8bit\.png")
    masks = source.match(rf"gtFine/{split}/[^/]+/([^/]+)_gtFine_labelIds\.png")
    yield from pair_files(photos, masks)


def describe_annotation(source: Source) -> str:
    return "gtFine labelIds PNG 0..33"
