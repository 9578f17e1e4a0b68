"""COCO-Stuff 10K v1.1: MATLAB files whose field `S` holds 0 (unlabelled) and 1..182.

Caesar et al., "COCO-Stuff: Thing and Stuff Classes in Context", CVPR 2018. 11 of the 182 ids are
never used; they have no row in the label table, so a file that holds one is refused.
"""

from collections.abc import Iterator

import numpy as np

from lemore.data.archives.members import Member
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample, read_list
from lemore.data.readers.matlab import read_variable

LISTS = {"train": "train", "val": "test"}


def list_samples(source: Source, split: str) -> Iterator[RawSample]:
    """Samples of 'train', or of 'val' (imageLists/test.txt), sorted by name."""
    names = read_list(source, f"imageLists/{LISTS[split]}.txt")
    photos = source.match(r"images/([^/]+)\.jpg")
    masks = source.match(r"annotations/([^/]+)\.mat")
    for name in sorted(names):
        if name not in photos and name not in masks:
            raise ValueError(f"{source.describe()}: no images/{name}.jpg, which a list names")
        yield RawSample(name, photos.get(name), masks.get(name))


def read_label(label: Member, size: tuple[int, int]) -> np.ndarray:
    """H x W, 0..182."""
    return np.asarray(read_variable(label, "S"))


def describe_annotation(source: Source) -> str:
    return "mat S 0..182"
