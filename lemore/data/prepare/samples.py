"""A sample as a reader finds it, and how it is prepared for the store."""

import hashlib
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lemore.config.dataset import DatasetConfig
from lemore.config.labels import LabelTable, find_table
from lemore.data.archives import images
from lemore.data.archives.members import Member
from lemore.data.archives.source import Source
from lemore.data.store import pack_image, pack_label

BLANK = ()  # the annotation of a photo on which no polygon was drawn


@dataclass(frozen=True, slots=True)
class RawSample:
    """One image and its annotation, unread.

    `label` is what the reader's `read_label` takes (a Member, the annotation itself, or BLANK),
    the class number for classification, or None where the dataset lacks it; `image` is None for
    an annotation without a photo.
    """

    name: str
    image: Member | None
    label: Any

    @property
    def label_place(self) -> str:
        """Path of the annotation, for messages."""
        return getattr(self.label, "place", f"annotation of '{self.name}'")


@dataclass(frozen=True, slots=True)
class PreparedSample:
    """A sample for the store and the audit; `problem` says why it cannot go into the store.

    `kind` of problem: unpaired, image, annotation, label values or sizes.
    """

    name: str
    problem: str | None
    kind: str = ""
    size: tuple[int, int] = (0, 0)
    image: bytes = b""  # as `lemore.data.store.pack_image` makes it
    coding: int = 0
    label: bytes | int = 0
    mode: str = ""
    pixels: dict[int, int] = field(default_factory=dict)  # label pixels by train id, where any
    raw: dict[int, int] = field(default_factory=dict)  # the same by value before the mapping
    image_sha256: str = ""
    label_sha256: str = ""


def find_reader(config: DatasetConfig) -> Any:
    """Returns the dataset's reader: the module lemore.data.readers.<reader>, or its `Folders`
    made from the configuration.

    It has `list_samples(source, split)` and `describe_annotation(source)`; for classification also
    `list_classes(source)`, and `read_label(label, size)` where labels are not PNGs of raw values.
    """
    module = importlib.import_module(f"lemore.data.readers.{config.reader}")
    return module if config.files is None else module.Folders(config)


def pair_files(images: dict[str, Member], labels: dict[str, Member]) -> Iterator[RawSample]:
    """Pairs files by name, sorted; one that lacks its other half is kept, to be reported."""
    for name in sorted(images.keys() | labels.keys()):
        yield RawSample(name, images.get(name), labels.get(name))


def read_list(source: Source, path: str) -> list[str]:
    """Reads the lines of the text file that ends with `path`; ValueError if there is none."""
    member = source.find_one(re.escape(path))
    if member is None:
        raise ValueError(f"{source.describe()}: no {path} in it")
    try:
        lines = member.read().decode().splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{member.place}: is not text in UTF-8") from None
    return [line.strip() for line in lines if line.strip()]


def prepare_sample(config: DatasetConfig, sample: RawSample) -> PreparedSample:
    """Reads, checks and maps one sample; a fault becomes a `problem` that names the file."""
    if sample.image is None or sample.label is None:
        place = sample.image.place if sample.image else sample.label_place
        lacks = "image without an annotation" if sample.image else "annotation without an image"
        return PreparedSample(sample.name, f"{place}: {lacks}", "unpaired")
    kind, place = "image", sample.image.place
    try:
        data = sample.image.read()
        images.check_whole(data)
        photo = images.decode_rgb(data)
        prepared = _pack_photo(sample.name, data, photo)
        if config.task == "classification":
            number = sample.label
            return replace(prepared, label=number, pixels={number: 1}, label_sha256=str(number))
        kind, place = "annotation", sample.label_place
        raw = _read_label(config, sample.label, photo.shape[:2])
        kind = "label values"
        table = find_table(config)
        label, raw_counts = map_label(raw, table)
        kind = "sizes"
        _require_size(label, photo, data)
    except (ValueError, OSError) as error:
        text = str(error)
        return PreparedSample(sample.name, text if place in text else f"{place}: {text}", kind)
    counts: Counter[int] = Counter()
    for value, number in raw_counts.items():
        counts[table.lut[value]] += number
    return replace(
        prepared,
        label=pack_label(label),
        label_sha256=hashlib.sha256(label.tobytes()).hexdigest(),
        raw=raw_counts,
        pixels=dict(counts),
    )


def _read_label(config: DatasetConfig, label: Any, size: tuple[int, int]) -> np.ndarray:
    reader = find_reader(config)
    if hasattr(reader, "read_label"):
        return reader.read_label(label, size)
    return images.decode_label(label.read())


def _pack_photo(name: str, data: bytes, photo: np.ndarray) -> PreparedSample:
    image, coding = pack_image(data, photo)
    return PreparedSample(
        name,
        problem=None,
        size=(photo.shape[0], photo.shape[1]),
        image=image,
        coding=coding,
        mode=images.describe(data),
        image_sha256=hashlib.sha256(data).hexdigest(),
    )


def _require_size(label: np.ndarray, photo: np.ndarray, data: bytes) -> None:
    if label.shape != photo.shape[:2]:
        turned = images.read_orientation(data)
        note = f" (EXIF orientation {turned})" if turned != 1 else ""
        raise ValueError(f"label is {label.shape}, image {photo.shape[:2]} (H, W){note}")


def map_label(raw: np.ndarray, table: LabelTable) -> tuple[np.ndarray, dict[int, int]]:
    """Maps H x W raw values to uint8 train ids; counts the pixels of each raw value.

    ValueError for values that the table does not list.
    """
    if raw.ndim != 2 or raw.dtype.kind not in "uif" or raw.size == 0:
        raise ValueError(f"annotation is {raw.dtype} of shape {raw.shape}, expected H x W numbers")
    if raw.dtype.kind == "f" and (raw != np.floor(raw)).any():
        raise ValueError("label values are not whole numbers")
    if raw.min() < 0 or raw.max() > 255:
        raise ValueError(f"label values {raw.min()} to {raw.max()} do not fit 0 to 255")
    raw = raw.astype(np.uint8, copy=False)
    counts = np.bincount(raw.ravel(), minlength=256)
    found = np.flatnonzero(counts).tolist()
    if undeclared := sorted(set(found) - set(table.ids)):
        values = ", ".join(map(str, undeclared))
        raise ValueError(f"label values {values} are in no class and not ignored")
    return np.array(table.lut, np.uint8)[raw], {value: int(counts[value]) for value in found}
