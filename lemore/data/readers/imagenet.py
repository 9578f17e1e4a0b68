"""ImageNet-1K (ILSVRC 2012): tar of tars for training, flat tar and development kit for
validation, or the same as folders train/<wnid>/, val/<wnid>/.

Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015. Class numbers
are positions in the sorted list of wnids (n01440764 = 0), not the kit's own ILSVRC2012_ID.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lemore.data.archives.members import Member, list_tar_members
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample
from lemore.data.readers.matlab import read_variable

TAR = r"(n\d{8})\.tar"
PHOTO = r"(n\d{8})/[^/]+\.(?:JPEG|jpg|jpeg|png)"
TRUTH = r"ILSVRC2012_validation_ground_truth\.txt"


def list_classes(source: Source) -> list[str]:
    """Sorted wnids of the training images."""
    found = [*_find_by_wnid(source, TAR), *_find_by_wnid(source, f"train/{PHOTO}")]
    return sorted({wnid for wnid, _ in found})


def list_samples(source: Source, split: str) -> Iterator[RawSample]:
    """Samples of 'train' or 'val'; the label is the class number."""
    numbers = {wnid: number for number, wnid in enumerate(list_classes(source))}
    return (_list_train if split == "train" else _list_val)(source, numbers)


def describe_annotation(source: Source) -> str:
    return "tars" if any(_find_by_wnid(source, TAR)) else "folders by wnid"


def _find_by_wnid(source: Source, pattern: str) -> Iterator[tuple[str, Member]]:
    """Yields (wnid, file) for the files whose path ends like `pattern`."""
    regex = re.compile(rf"(?:.*/)?{pattern}$")
    for member in source:
        if match := regex.match(member.name):
            yield match[1], member


def _list_train(source: Source, numbers: dict[str, int]) -> Iterator[RawSample]:
    for wnid, tar in sorted(_find_by_wnid(source, TAR), key=lambda pair: pair[0]):
        if tar.kind not in ("file", "tar"):
            raise ValueError(f"{tar.place}: expected inside an uncompressed tar")
        path = Path(tar.container) / tar.name if tar.kind == "file" else Path(tar.container)
        for member in list_tar_members(path, tar.offset, tar.size):
            yield RawSample(f"{wnid}/{Path(member.name).stem}", member, numbers[wnid])
    for wnid, member in _find_by_wnid(source, f"train/{PHOTO}"):
        yield RawSample(f"{wnid}/{Path(member.name).stem}", member, numbers[wnid])


def _list_val(source: Source, numbers: dict[str, int]) -> Iterator[RawSample]:
    for wnid, member in _find_by_wnid(source, f"val/{PHOTO}"):
        yield RawSample(Path(member.name).stem, member, numbers.get(wnid))
    photos = source.match(r"(ILSVRC2012_val_\d{8})\.JPEG")
    photos = {name: member for name, member in photos.items() if "/val/n" not in member.name}
    if not photos:
        return
    wnids = _read_truth(source)
    for name in sorted(photos):
        number = int(name.rsplit("_", 1)[1])
        wnid = wnids[number - 1] if number <= len(wnids) else ""
        yield RawSample(name, photos[name], numbers.get(wnid))


def _read_truth(source: Source) -> list[str]:
    """Reads the wnids of validation images 1, 2, ... from the development kit."""
    truth, meta = source.find_one(TRUTH), source.find_one(r"meta\.mat")
    if truth is None or meta is None:
        raise ValueError(f"{source.describe()}: no development kit (ILSVRC2012_devkit_t12.tar.gz)")
    synsets = read_variable(meta, "synsets", squeeze_me=True)
    wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in np.atleast_1d(synsets)}
    return [wnids[int(line)] for line in truth.read().split()]
