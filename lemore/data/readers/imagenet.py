"""ImageNet-1K (ILSVRC 2012): tar of tars for training, flat tar and development kit for
validation, or the same as folders train/<wnid>/, val/<wnid>/.

Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015. Class numbers
are positions in the sorted list of wnids (n01440764 = 0), not the kit's own ILSVRC2012_ID.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lemore.data.archives import matlab
from lemore.data.archives.archives import Member, plain_tar_members
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample

WNID = re.compile(r"(?:.*/)?(n\d{8})\.tar$")
TRUTH = r"ILSVRC2012_validation_ground_truth\.txt"


def classes(source: Source) -> list[str]:
    """Sorted wnids of the training images."""
    found = {wnid for wnid, _ in _inner_tars(source)}
    found |= {wnid for wnid, _ in _in_folders(source, "train")}
    return sorted(found)


def samples(source: Source, split: str) -> Iterator[RawSample]:
    """Samples of 'train' or 'val'; the label is the class number."""
    numbers = {wnid: number for number, wnid in enumerate(classes(source))}
    yield from _train(source, numbers) if split == "train" else _val(source, numbers)


def annotation(source: Source) -> str:
    return "tars" if any(_inner_tars(source)) else "folders by wnid"


def read_label(label: Any, size: tuple[int, int]) -> np.ndarray:
    raise AssertionError("classification labels need no reading")


def _inner_tars(source: Source) -> Iterator[tuple[str, Member]]:
    for member in source:
        if match := WNID.match(member.name):
            yield match[1], member


def _in_folders(source: Source, split: str) -> Iterator[tuple[str, Member]]:
    pattern = re.compile(rf"(?:.*/)?{split}/(n\d{{8}})/[^/]+\.(?:JPEG|jpg|jpeg|png)$")
    for member in source:
        if match := pattern.match(member.name):
            yield match[1], member


def _train(source: Source, numbers: dict[str, int]) -> Iterator[RawSample]:
    for wnid, tar in sorted(_inner_tars(source), key=lambda pair: pair[0]):
        place, start = _location(tar)
        for member in plain_tar_members(place, start, tar.size):
            yield RawSample(f"{wnid}/{_stem(member)}", member, numbers[wnid])
    for wnid, member in _in_folders(source, "train"):
        yield RawSample(f"{wnid}/{_stem(member)}", member, numbers[wnid])


def _val(source: Source, numbers: dict[str, int]) -> Iterator[RawSample]:
    for wnid, member in _in_folders(source, "val"):
        yield RawSample(_stem(member), member, numbers.get(wnid))
    photos = source.match(r"(ILSVRC2012_val_\d{8})\.JPEG")
    photos = {name: member for name, member in photos.items() if "/val/n" not in member.name}
    if not photos:
        return
    wnids = _truth(source)
    for name in sorted(photos):
        number = int(name.rsplit("_", 1)[1])
        wnid = wnids[number - 1] if number <= len(wnids) else None
        yield RawSample(name, photos[name], numbers.get(wnid or ""))


def _truth(source: Source) -> list[str]:
    """The wnid of validation image 1, 2, ..., from the development kit."""
    truth, meta = source.one(TRUTH), source.one(r"meta\.mat")
    if truth is None or meta is None:
        raise ValueError(f"{source.describe()}: no development kit (ILSVRC2012_devkit_t12.tar.gz)")
    synsets = matlab.variable(meta, "synsets", squeeze_me=True)
    wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in np.atleast_1d(synsets)}
    return [wnids[int(line)] for line in truth.read().split()]


def _location(tar: Member) -> tuple[Path, int]:
    if tar.kind == "file":
        return Path(tar.container) / tar.name, 0
    if tar.kind != "tar":
        raise ValueError(f"{tar.place}: expected inside an uncompressed tar")
    return Path(tar.container), tar.offset


def _stem(member: Member) -> str:
    return member.name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
