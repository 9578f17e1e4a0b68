"""A sample as a reader finds it, and how it becomes what the store keeps."""

import hashlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.data import packing
from lemore.data.archives import images
from lemore.data.archives.archives import Member
from lemore.data.archives.source import Source


@dataclass(frozen=True, slots=True)
class RawSample:
    """One image and its annotation, unread.

    `label` is what the reader's `read_label` understands (a Member, or the annotation itself),
    the class number for classification, or None where the dataset lacks it; `image` is None for
    an annotation without a photo.
    """

    name: str
    image: Member | None
    label: Any


@dataclass(frozen=True, slots=True)
class Prepared:
    """What goes into the store and the audit; `problem` says why a sample cannot go in.

    `kind` of problem: unpaired, image, annotation, label values or sizes.
    """

    name: str
    problem: str | None
    kind: str = ""
    size: tuple[int, int] = (0, 0)
    image: bytes = b""  # as `lemore.data.packing` makes it
    coding: int = 0
    label: bytes | int = 0
    mode: str = ""
    pixels: dict[int, int] = field(default_factory=dict)  # label pixels by train id, where any
    raw: dict[int, int] = field(default_factory=dict)  # the same by value before the mapping
    image_sha256: str = ""
    label_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    config: DatasetConfig
    sample: RawSample


def find_reader(config: DatasetConfig) -> Any:
    """What knows the layout: `samples(source, split)`, `read_label(label, size)`, `annotation`.

    The module lemore.data.readers.<reader>, or its `Folders` made from the configuration.
    """
    module = importlib.import_module(f"lemore.data.readers.{config.reader}")
    return module if config.files is None else module.Folders(config)


def pairs(images: dict[str, Member], labels: dict[str, Member]) -> Iterator[RawSample]:
    """Samples by common name, sorted; one that lacks its other half is kept, to be reported."""
    for name in sorted(images.keys() | labels.keys()):
        yield RawSample(name, images.get(name), labels.get(name))


def listed(source: Source, pattern: str) -> list[str] | None:
    """The lines of the split list that ends like `pattern`, or None if there is no such file."""
    member = source.one(pattern)
    if member is None:
        return None
    try:
        return member.read().decode().split()
    except UnicodeDecodeError:
        raise ValueError(f"{member.place}: is not text in UTF-8") from None


def prepare_sample(job: Job) -> Prepared:
    """Reads, checks and maps one sample; a fault becomes a `problem` that names the file."""
    sample = job.sample
    if sample.image is None:
        return _faulty(sample, "unpaired", _place(sample), "annotation without an image")
    if sample.label is None:
        return _faulty(sample, "unpaired", sample.image.place, "image without an annotation")
    kind, place = "image", sample.image.place
    try:
        data = sample.image.read()
        images.check_whole(data)
        photo = images.decode_rgb(data)
        if job.config.task == "classification":
            return _prepared(sample, data, photo, sample.label)
        kind, place = "annotation", _place(sample)
        raw = find_reader(job.config).read_label(sample.label, photo.shape[:2])
        kind = "label values"
        label = to_train_ids(raw, labels.of(job.config))
        kind = "sizes"
        _require_size(label, photo, data)
        return _prepared(sample, data, photo, label, raw)
    except (ValueError, OSError) as error:
        return _faulty(sample, kind, place, str(error))


def _faulty(sample: RawSample, kind: str, place: str, text: str) -> Prepared:
    return Prepared(sample.name, text if place in text else f"{place}: {text}", kind)


def to_train_ids(raw: np.ndarray, table: labels.LabelTable) -> np.ndarray:
    """H x W raw values -> uint8 train ids by the label table, once; undeclared values refused."""
    if raw.ndim != 2 or raw.dtype.kind not in "uif" or raw.size == 0:
        raise ValueError(f"annotation is {raw.dtype} of shape {raw.shape}, expected H x W numbers")
    if raw.dtype.kind == "f" and (raw != np.floor(raw)).any():
        raise ValueError("label values are not whole numbers")
    if raw.min() < 0 or raw.max() > 255:
        raise ValueError(f"label values {raw.min()} to {raw.max()} do not fit 0 to 255")
    raw = raw.astype(np.uint8, copy=False)
    found = np.flatnonzero(np.bincount(raw.ravel(), minlength=256))
    undeclared = sorted(set(found.tolist()) - set(table.ids))
    if undeclared:
        values = ", ".join(map(str, undeclared))
        raise ValueError(f"label values {values} are in no class and not ignored")
    return np.array(table.lut, np.uint8)[raw]


def _require_size(label: np.ndarray, photo: np.ndarray, data: bytes) -> None:
    if label.shape != photo.shape[:2]:
        turned = f" (EXIF orientation {n})" if (n := images.orientation(data)) != 1 else ""
        raise ValueError(f"label is {label.shape}, image {photo.shape[:2]} (H, W){turned}")


def _prepared(
    sample: RawSample,
    data: bytes,
    photo: np.ndarray,
    label: np.ndarray | int,
    raw: np.ndarray | None = None,
) -> Prepared:
    """A sound sample; `label` is a map of train ids, made from `raw`, or a class number."""
    image, coding = packing.pack_image(data, photo)
    whole = isinstance(label, np.ndarray)
    return Prepared(
        name=sample.name,
        problem=None,
        size=(photo.shape[0], photo.shape[1]),
        image=image,
        coding=coding,
        label=packing.pack_label(label) if whole else label,
        mode=images.describe(data),
        pixels=_counted(label) if whole else {label: 1},
        raw=_counted(raw) if raw is not None else {},
        image_sha256=hashlib.sha256(data).hexdigest(),
        label_sha256=hashlib.sha256(label.tobytes()).hexdigest() if whole else str(label),
    )


def _counted(values: np.ndarray) -> dict[int, int]:
    counts = np.bincount(values.ravel())
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _place(sample: RawSample) -> str:
    if isinstance(sample.label, Member):
        return sample.label.place
    return f"annotation of '{sample.name}'"
