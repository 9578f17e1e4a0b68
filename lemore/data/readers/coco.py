"""COCO's JSON: the annotations of all images of a split, as polygons or run lengths; as boxes they
are read by `coco_boxes`.

Drawn as pycocotools' `annToMask` does; the parts of one annotation are united. `iscrowd`, boxes and
areas decide nothing.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lemore.config.read import did_you_mean
from lemore.data.archives.members import Member, normalize_name
from lemore.data.readers import rle
from lemore.data.readers.paint import Region
from lemore.data.readers.points import LONG, check_points, parse_json, show

LISTS = ("images", "annotations", "categories")
KEPT = ("id", "image_id", "category_id")  # of an annotation, with its segmentation


@dataclass(frozen=True, slots=True)
class Annotations:
    """The annotations of one image, unread: (id, class, what is drawn).

    `sides` is (H, W) as the file claims it, None where it does not.
    """

    place: str
    image_id: Any
    sides: tuple[Any, Any]
    entries: list[tuple[Any, Any, Any]]

    def check_sides(self, size: tuple[int, int]) -> None:
        """Raises ValueError if the file claims another size than the photo's (H, W)."""
        if any(claimed not in (None, side) for claimed, side in zip(self.sides, size, strict=True)):
            claimed = show(self.sides)
            raise ValueError(f"says that the image is {claimed}, the photo is {size} (H, W)")


def read_file(member: Member) -> dict[str, Annotations]:
    """Reads the annotations by the `file_name` of their image, with the names of their categories
    and their segmentations; ValueError names file and entry."""
    content = parse_file(member, _pack)
    with refuse_foreign(member.place):
        return group(content, read_names(content, member.place), "segmentation", member.place)


def parse_file(member: Member, pack: Callable[[dict], dict]) -> dict[str, Any]:
    """Parses the file; `pack` makes each of its objects smaller. ValueError if a list is absent."""
    content = parse_json(member.read(), member.place, pack)
    for key in LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(
                f"{member.place}: not a COCO annotation file (there is no list '{key}' in it)"
            )
    return content


@contextmanager
def refuse_foreign(place: str) -> Iterator[None]:
    """Turns the errors of entries that are not COCO's into a ValueError."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{place}: not a COCO annotation file ({error!r})") from None


def read_names(content: dict[str, Any], place: str) -> dict[Any, str]:
    """Reads the categories' names by their ids."""
    names: dict[Any, str] = {}
    for category in content["categories"]:
        if category["name"] is None:
            raise ValueError(f"{place}: category {show(category['id'])} has no name")
        if names.setdefault(category["id"], str(category["name"])) != str(category["name"]):
            raise ValueError(f"{place}: two categories have the id {show(category['id'])}")
    return names


def _pack(entry: dict) -> dict:
    """Keeps of an annotation what is needed, its coordinates in a quarter of a list's memory."""
    parts = entry.get("segmentation")
    if not isinstance(parts, list):
        return entry
    kept = {key: entry[key] for key in KEPT if key in entry}
    try:
        return kept | {"segmentation": [array("d", part) for part in parts]}
    except (TypeError, OverflowError):
        return kept | {"segmentation": parts}  # refused with the name of its image


def group(
    content: dict[str, Any], classes: Mapping[Any, Any], drawn: str, place: str
) -> dict[str, Annotations]:
    """Returns the annotations by the `file_name` of their image.

    classes: by category id. drawn: the key of an annotation that holds what is drawn.
    """
    by_id: dict[Any, Annotations] = {}
    by_name: dict[str, Annotations] = {}
    for image in content["images"]:
        name = normalize_name(image["file_name"].replace("\\", "/").removeprefix("./"))
        number, sides = image["id"], (image.get("height"), image.get("width"))
        if number in by_id or name in by_name:
            raise ValueError(f"{place}: image {show(number)}, {show(name)}, is there twice")
        found = Annotations(f"{place}, image {show(name)}", number, sides, [])
        by_id[number] = by_name[name] = found
    for entry in content["annotations"]:
        image, kind = by_id.get(entry["image_id"]), classes.get(entry["category_id"])
        if image is None or kind is None:
            missing = "image_id" if image is None else "category_id"
            number, value = show(entry.get("id")), show(entry[missing])
            raise ValueError(
                f"{place}: annotation {number} has {missing} {value}, which is not there"
            )
        image.entries.append((entry.get("id"), kind, entry.get(drawn)))
    return by_name


def pair(
    annotations: Mapping[str, Annotations], images: Mapping[str, Member], place: str
) -> dict[str, Annotations]:
    """Returns the annotations by the name of their sample; those without a photo by `file_name`.

    A `file_name` is the end of a photo's path. ValueError if two photos have one, or none has.
    """
    paired: dict[str, Annotations] = {}
    found: dict[str, Member] = {}
    for name, member in images.items():
        parts = normalize_name(member.name).split("/")
        ends = ["/".join(parts[i:]) for i in range(len(parts))]
        if end := next((end for end in ends if end in annotations), None):
            if end in found:
                both = f"{found[end].place} and {member.place}"
                raise ValueError(f"{place}: file_name {show(end)} stands for two photos: {both}")
            found[end] = member
            paired[name] = annotations[end]
    if not found:
        some = f", such as {show(next(iter(annotations)))}," if annotations else ""
        photo = next(iter(images.values())).name
        raise ValueError(
            f"{place}: none of its {len(annotations)} file_names{some} is a photo that was found, "
            f"such as '{photo}'"
        )
    return paired | {name: image for name, image in annotations.items() if name not in found}


def check_categories(
    annotations: Mapping[str, Annotations], numbers: Mapping[str, int], place: str
) -> None:
    """Raises ValueError with the categories in use that are in no class and not ignored."""
    used = {name for image in annotations.values() for _, name, _ in image.entries}
    if unknown := sorted(used - numbers.keys()):
        near = did_you_mean(unknown[0][:LONG], map(str, numbers))
        shown = ", ".join(map(show, unknown))
        raise ValueError(f"{place}: categories in no class and not ignored: {shown}{near}")


def list_regions(
    image: Annotations, numbers: Mapping[str, int], size: tuple[int, int]
) -> Iterator[Region]:
    """Yields the regions of one image; ValueError with the annotation for what cannot be drawn."""
    image.check_sides(size)
    for number, category, segmentation in image.entries:
        try:
            runs = _read_runs(segmentation, size)
        except ValueError as error:
            raise ValueError(f"annotation {show(number)}: {error}") from None
        yield numbers[category], partial(rle.fill, runs, size)


def _read_runs(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Returns the run lengths of a segmentation, polygons or run lengths, at the photo's size."""
    if isinstance(segmentation, list) and segmentation:
        segmentation = _join([_check_part(part, size) for part in segmentation], size)
    elif not isinstance(segmentation, dict):
        raise ValueError("has no segmentation")
    try:
        if tuple(segmentation["size"]) != size:
            raise ValueError(f"mask is {show(segmentation['size'])}, the photo {size} (H, W)")
        return rle.read_runs(segmentation)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a run-length mask ({error!r})") from None


def _check_part(part: Any, size: tuple[int, int]) -> list[float]:
    """Checks one polygon, x1, y1, x2, y2 ..."""
    if not isinstance(part, array):
        raise ValueError("its points are no pairs of numbers")
    if len(part) < 6 or len(part) % 2:
        raise ValueError(f"a polygon of {len(part)} numbers, expected x, y of 3 points or more")
    return check_points(np.array(part).reshape(-1, 2), size).ravel().tolist()


def _join(parts: list, size: tuple[int, int]) -> dict[str, Any]:
    """Draws polygons as one mask of run lengths."""
    from pycocotools import mask as tools  # for COCO alone

    joined: Any = tools.merge(tools.frPyObjects(parts, *size))
    return {"size": joined["size"], "counts": joined["counts"].decode()}
