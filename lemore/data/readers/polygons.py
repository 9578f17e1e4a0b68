"""Polygons of own datasets: which class each one is, and what is painted over what."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lemore.config.labels import IGNORE
from lemore.config.own_files import ClassConfig, Files
from lemore.data.archives.members import Member
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import BLANK
from lemore.data.readers import coco, labelme, yolo
from lemore.data.readers.paint import paint


def read_coco(
    files: Files,
    classes: Sequence[ClassConfig],
    source: Source,
    found: Mapping[str, Member],
    images: Mapping[str, Member],
) -> dict[str, Any]:
    """Returns the annotations in the one COCO file that was found, by the name of their sample.

    Those of images without any annotation are BLANK. ValueError unless there is one such file.
    """
    if not found:
        return {}
    (member,) = found.values()  # the pattern has no {word} but {split}
    annotations = source.parse_once(member, coco.read_file)
    coco.check_categories(annotations, _number_classes(files, classes), member.place)
    paired = coco.pair(annotations, images, member.place)
    empty = {name for name, image in paired.items() if name in images and not image.entries}
    return paired | dict.fromkeys(empty, BLANK)


def read_label(
    files: Files, classes: Sequence[ClassConfig], label: Any, size: tuple[int, int]
) -> np.ndarray:
    """Paints the annotation of one photo, H x W uint8 train ids; 255 is ignored.

    Larger regions are painted first, as Ultralytics does; the order of LabelMe's shapes is kept.
    """
    numbers = _number_classes(files, classes)
    train_ids = {row.name: k for k, row in enumerate(classes)} | {"ignore": IGNORE}
    assert files.unlabelled is not None
    if label == BLANK:
        regions = []
    elif files.mask == "coco":
        regions = coco.list_regions(label, numbers, size)
    elif files.mask == "yolo":
        regions = yolo.list_regions(label, numbers, size)
    else:
        regions = labelme.list_regions(label, numbers, size)
    return paint(regions, size, train_ids[files.unlabelled], by_area=files.mask != "labelme")


def _number_classes(files: Files, classes: Sequence[ClassConfig]) -> dict[Any, int]:
    """Returns train ids by name, for YOLO by number; those that are ignored included."""
    rows = enumerate(classes)
    numbers = {k if files.mask == "yolo" else row.name: k for k, row in rows}
    return numbers | dict.fromkeys(files.ignore, IGNORE)
