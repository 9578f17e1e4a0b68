"""COCO's JSON as boxes, for detection: the objects of all images of a split.

A class is a category, train ids follow the categories' ids. Polygons and run lengths are passed
over; `area` stays what the file says, since evaluation sorts objects by it, and is the box's where
the file has none.
"""

from array import array
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from lemore.config.values import MAX_NAME, is_class_name
from lemore.data.archives.members import Member
from lemore.data.archives.source import Source
from lemore.data.objects import Objects
from lemore.data.readers.coco import (
    KEPT,
    Annotations,
    group,
    pair,
    parse_file,
    read_names,
    refuse_foreign,
)
from lemore.data.readers.points import show

MOST = 1e9  # of a coordinate or an area, in pixels
MOST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class BoxFile:
    """The names of the categories by id, in the order of the ids, and the images by `file_name`.

    An annotation's class is its train id, what is drawn (bbox, iscrowd, area).
    """

    categories: dict[int, str]
    images: dict[str, Annotations]


def read_file(member: Member) -> BoxFile:
    """Reads a file; ValueError names file and entry."""
    place = member.place
    content = parse_file(member, _pack)
    with refuse_foreign(place):
        categories = _read_categories(content, place)
        classes = {number: k for k, number in enumerate(categories)}
        images = group(content, classes, "box", place)
    numbers: set[Any] = set()
    for name, image in images.items():
        _require_number(image.image_id, f"{place}: the id of image {show(name)}")
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{place}: file_name {show(name)} leads out of the photos' folder")
        for number, *_ in image.entries:
            if number is None:
                continue
            _require_number(number, f"{place}: the id of an annotation of image {show(name)}")
            if number in numbers:
                raise ValueError(f"{place}: two annotations have the id {number}")
            numbers.add(number)
    return BoxFile(categories, images)


def _pack(entry: dict) -> dict:
    """Keeps of an annotation what is needed, in little memory."""
    if "category_id" not in entry:
        return entry
    kept = {key: entry[key] for key in KEPT if key in entry}
    box: Any = entry.get("bbox")
    with suppress(TypeError, OverflowError):  # refused with the name of its image
        box = array("d", box)
    return kept | {"box": (box, entry.get("iscrowd", 0), entry.get("area"))}


def _read_categories(content: dict[str, Any], place: str) -> dict[int, str]:
    names = read_names(content, place)
    for number, name in names.items():
        _require_number(number, f"{place}: the id of category {show(name)}")
        if not is_class_name(name):
            raise ValueError(
                f"{place}: the name of category {number} is {show(name)}, expected one line of 1 "
                f"to {MAX_NAME} characters"
            )
    if len(set(names.values())) < len(names):
        twice = [name for name in names.values() if list(names.values()).count(name) > 1]
        raise ValueError(f"{place}: two categories are called {show(twice[0])}")
    return dict(sorted(names.items()))


def _require_number(value: Any, what: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MOST_ID:
        raise ValueError(f"{what} is {show(value)}, expected a whole number of at most 64 bits")


def read_categories(source: Source, members: Iterable[Member]) -> dict[int, str]:
    """Returns the categories that all splits' files have; ValueError if they are not the same."""
    found = [(member.place, source.parse_once(member, read_file)) for member in members]
    for place, file in found:
        if file.categories != found[0][1].categories:
            raise ValueError(f"{place}: its categories are not those of {found[0][0]}")
    return found[0][1].categories if found else {}


def read_images(
    source: Source, member: Member, photos: Mapping[str, Member]
) -> dict[str, Annotations]:
    """Returns the images of a file by the name of their sample; those without a photo by
    `file_name`."""
    return pair(source.parse_once(member, read_file).images, photos, member.place)


def make_objects(image: Annotations, size: tuple[int, int]) -> Objects:
    """Returns the objects of one image on a photo of `size` (H, W), as the file says: boxes may
    reach beyond it. ValueError with the annotation for what is no box."""
    image.check_sides(size)
    rows = [(*_check(number, *drawn), kind) for number, kind, drawn in image.entries]
    values = np.array(rows, np.float64).reshape(-1, 7)
    boxes = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:4]], 1)
    crowd, areas, classes = values[:, 4] == 1, values[:, 5], values[:, 6]
    return Objects(
        boxes.astype(np.float32), classes.astype(np.int64), crowd, areas.astype(np.float32)
    )


def _check(number: Any, box: Any, crowd: Any, area: Any) -> tuple[float, ...]:
    """Returns (x, y, width, height, crowd, area) of an annotation."""
    where = f"annotation {show(number)}"
    if not isinstance(box, array):
        raise ValueError(f"{where}: bbox is {show(box)}, expected four numbers")
    if len(box) != 4 or not all(abs(value) <= MOST for value in box):  # NaN too
        raise ValueError(f"{where}: bbox is {show(box.tolist())}, expected four numbers")
    if min(box[2:]) < 0:
        raise ValueError(f"{where}: bbox is {show(box.tolist())}, of negative width or height")
    if crowd not in (0, 1):
        raise ValueError(f"{where}: iscrowd is {show(crowd)}, expected 0 or 1")
    area = box[2] * box[3] if area is None else area
    if not isinstance(area, int | float) or not 0 <= area <= MOST:
        raise ValueError(f"{where}: area is {show(area)}, expected a number of pixels")
    return *box, float(crowd), float(area)
