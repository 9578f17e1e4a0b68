"""A sample as a reader finds it, and how it is prepared for the store."""

import hashlib
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lemore.config.dataset import DatasetConfig
from lemore.config.labels import IGNORE, LabelTable, find_table
from lemore.config.own_files import Files
from lemore.data.archives import images
from lemore.data.archives.blocks import encode_blocks
from lemore.data.archives.masks import decode_label
from lemore.data.archives.members import Member, normalize_name
from lemore.data.archives.source import Source
from lemore.data.photo import BLOCKS, pack_image
from lemore.data.prepare.boxes import pack_objects
from lemore.data.prepare.orientation import require_alignment, require_said
from lemore.data.store import pack_label
from lemore.runtime.files import decode_text

BLACK = 16  # of 255: a photo of 12 bits in a file of 16 is darker everywhere
NEARLY_BLACK = ", nearly black"  # in a sample's mode
BLANK = ()  # the annotation of a photo on which no polygon was drawn


@dataclass(frozen=True, slots=True)
class RawSample:
    """One image and its annotation, unread.

    `label` is what the reader's `read_label` takes (a Member, the annotation itself, or BLANK; for
    detection it has an `image_id`), the class number for classification, or None where the dataset
    lacks it; `image` is None for an annotation without a photo.
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
    image: bytes = b""  # as `lemore.data.photo.pack_image` makes it
    coding: int = 0
    label: bytes | int = 0
    mode: str = ""
    # label pixels by train id, where any; for detection boxes
    pixels: dict[int, int] = field(default_factory=dict)
    raw: dict[int, int] = field(default_factory=dict)  # the same by value before the mapping
    boxes: dict[str, int] = field(default_factory=dict)  # of detection: crowds and odd ones
    image_sha256: str = ""
    label_sha256: str = ""


def find_reader(config: DatasetConfig) -> Any:
    """Returns the dataset's reader: the module lemore.data.readers.<reader>, or its `Folders`
    made from the configuration.

    It has `list_samples(source, split)` and `describe_annotation(source)`; for classification also
    `list_classes(source)`, for detection `list_categories(source)` (names by COCO's ids, sorted),
    and `read_label(label, size)` where labels are not PNGs of raw values; for detection it returns
    `Objects`.
    """
    module = importlib.import_module(f"lemore.data.readers.{config.reader}")
    return module if config.files is None else module.Folders(config)


def pair_files(images: dict[str, Member], labels: dict[str, Member]) -> Iterator[RawSample]:
    """Pairs files by name, sorted; one that lacks its other half is kept, to be reported."""
    for name in sorted(images.keys() | labels.keys()):
        yield RawSample(name, images.get(name), labels.get(name))


def list_classes(config: DatasetConfig, source: Source) -> list[str]:
    """Returns the classes' names; ValueError if there are others than `num_classes`."""
    if config.task == "segmentation":
        names = list(find_table(config).names)
    elif config.task == "detection":
        names = list(list_categories(config, source).values())
    else:
        names = list(find_reader(config).list_classes(source))
    if len(names) != config.num_classes:
        where = config.labels or source.describe()
        raise ValueError(f"{where}: {len(names)} classes, num_classes says {config.num_classes}")
    return names


def list_categories(config: DatasetConfig, source: Source) -> dict[int, str]:
    """Returns the names of detection's classes by COCO's category ids, in the order of the train
    ids; ValueError if they are not those of the dataset's label table."""
    found = find_reader(config).list_categories(source)
    if config.labels is not None:
        table = find_table(config)
        expected = dict(zip(table.raw_ids, table.names, strict=True))
        if odd := sorted(dict(found.items() ^ expected.items())):
            shown = ", ".join(f"{k} {found.get(k, 'is missing')}" for k in odd[:5])
            raise ValueError(
                f"{source.describe()}: its categories are not those of the label table "
                f"'{config.labels}': {shown}"
            )
    return found


def list_splits(config: DatasetConfig, source: Source) -> dict[str, list[RawSample]]:
    """Lists the samples of every split; ValueError if two in a split have one name."""
    reader = find_reader(config)
    splits = {split: list(reader.list_samples(source, split)) for split in config.splits}
    for split, samples in splits.items():
        for name, number in Counter(sample.name for sample in samples).items():
            if number > 1:
                raise ValueError(f"two samples of split '{split}' are called '{name}'")
    return splits


def list_texts(config: DatasetConfig, source: Source) -> list[Member]:
    """Lists the files of an own dataset that say what is in a split."""
    return find_reader(config).list_texts(source) if config.files is not None else []


def list_unused(
    config: DatasetConfig, source: Source, splits: dict[str, list[RawSample]]
) -> list[str]:
    """Lists the files below an own dataset's folder that no split uses."""
    if config.files is None:
        return []
    used = {text.place for text in list_texts(config, source)}
    for sample in (sample for samples in splits.values() for sample in samples):
        used |= {m.place for m in (sample.image, sample.label) if isinstance(m, Member)}
    return [member.name for member in source if member.place not in used]


def read_list(source: Source, path: str, whole: bool = False) -> list[str]:
    """Reads the lines of the text file that ends with `path` (`whole`: that is at it); ValueError
    if there is none. Names are in Unicode's composed form."""
    member = source.find_one(re.escape(path), whole)
    if member is None:
        raise ValueError(f"{source.describe()}: no {path} in it")
    lines = decode_text(member.read(), member.place).splitlines()
    return [normalize_name(line.strip()) for line in lines if line.strip()]


def prepare_sample(
    config: DatasetConfig, sample: RawSample, short_side: int | None = None
) -> PreparedSample:
    """Reads, checks and maps one sample; a fault becomes a `problem` that names the file.

    A photo whose shorter side is longer than `short_side` is kept at that size, others unchanged.
    """
    if sample.image is None or sample.label is None:
        place = sample.image.place if sample.image else sample.label_place
        lacks = "image without an annotation" if sample.image else "annotation without an image"
        return PreparedSample(sample.name, f"{place}: {lacks}", "unpaired")
    kind, place = "image", sample.image.place
    try:
        data = sample.image.read()
        # COCO's boxes were drawn on photos as they are stored.
        as_stored = config.files.exif == "stored" if config.files else config.task == "detection"
        photo, turned = images.decode_photo(data, as_stored), images.read_orientation(data)
        prepared = _pack_photo(sample.name, data, photo, as_stored and turned != 1)
        if short_side is not None and min(prepared.size) > short_side:
            small = encode_blocks(_shrink(photo, short_side))
            prepared = replace(prepared, image=small, coding=BLOCKS)
        if config.task == "classification":
            number = sample.label
            return replace(prepared, label=number, pixels={number: 1}, label_sha256=str(number))
        kind, place = "annotation", sample.label_place
        require_said(config.files, turned)
        raw = _read_label(config, sample.label, photo.shape[:2])
        if config.task == "detection":
            found = pack_objects(raw, prepared.size, sample.label.image_id)
            return replace(prepared, **found)
        kind = "label values"
        label, raw_counts = _map_values(config, raw)
        kind = "sizes"
        require_alignment(config.files, turned, sample.label, photo, label)
    except (ValueError, OSError) as error:
        text = str(error)
        return PreparedSample(sample.name, text if place in text else f"{place}: {text}", kind)
    found = np.bincount(label.ravel(), minlength=256)
    return replace(
        prepared,
        label=pack_label(label),
        label_sha256=hashlib.sha256(label.tobytes()).hexdigest(),
        raw=raw_counts,
        pixels={int(train_id): int(found[train_id]) for train_id in np.flatnonzero(found)},
    )


def read_own_label(config: DatasetConfig, path: Path) -> np.ndarray:
    """Reads H x W raw values of a mask outside the dataset, in the coding of its `files`; of colour
    and binary masks the train ids."""
    member = Member(path.name, str(path.parent), "file", path.stat().st_size)
    values = _read_label(config, member, (0, 0))
    assert config.files is not None
    return values if config.files.threshold is None else _apply_threshold(config.files, values)


def _read_label(config: DatasetConfig, label: Any, size: tuple[int, int]) -> Any:
    reader = find_reader(config)
    if hasattr(reader, "read_label"):
        return reader.read_label(label, size)
    return decode_label(label.read())


def _pack_photo(name: str, data: bytes, photo: np.ndarray, hides_exif: bool) -> PreparedSample:
    file = data
    if hides_exif and data.startswith(images.JPEG):
        file = images.hide_orientation(data)
    elif hides_exif or not data.startswith((images.JPEG, images.PNG)):
        file = cv2.imencode(".png", photo[..., ::-1])[1].tobytes()
    image, coding = pack_image(file, photo)
    mode = images.describe(data)
    if "16 bit" in mode and photo.max() < BLACK:
        mode += NEARLY_BLACK
    return PreparedSample(
        name,
        problem=None,
        size=(photo.shape[0], photo.shape[1]),
        image=image,
        coding=coding,
        mode=mode,
        image_sha256=hashlib.sha256(photo.tobytes() if hides_exif else data).hexdigest(),
    )


def _shrink(photo: np.ndarray, short_side: int) -> np.ndarray:
    factor = short_side / min(photo.shape[:2])
    height, width = (round(side * factor) for side in photo.shape[:2])
    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)


def _map_values(config: DatasetConfig, raw: np.ndarray) -> tuple[np.ndarray, dict[int, int]]:
    """Maps H x W values of a label to uint8 train ids; counts the pixels of each value."""
    if config.files is None or config.files.threshold is None:
        return map_label(raw, find_table(config))
    values, numbers = np.unique(raw, return_counts=True)
    counts = dict(zip(values.tolist(), numbers.tolist(), strict=True))
    return _apply_threshold(config.files, raw), counts


def _apply_threshold(files: Files, values: np.ndarray) -> np.ndarray:
    """H x W values of a binary mask to train ids: 1 above the threshold, 255 where ignored."""
    assert files.threshold is not None
    label = (values > files.threshold).astype(np.uint8)
    label[np.isin(values, list(files.ignore))] = IGNORE
    return label


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
        hint = _suggest_values(found, table)
        raise ValueError(f"label values {values} are in no class and not ignored{hint}")
    return np.array(table.lut, np.uint8)[raw], {value: int(counts[value]) for value in found}


def _suggest_values(found: list[int], table: LabelTable) -> str:
    """Says so if a mask's values would be those of the classes but for a common other coding."""
    classes = set(range(len(table.names)))
    if not classes <= set(table.ids):
        return ""
    if {value - 1 for value in found if value} <= classes:
        zero = ", and 0 under `ignore`" if 0 in found else ""
        return f"; they fit if 1 is subtracted: `values: [1]` for the first class, and so on{zero}"
    if len(classes) == 2 and set(found) <= {0, 255}:
        return "; if 255 is the second class, say `mask: binary` and `threshold: 127`"
    return ""
