"""COCO's JSON: the annotations of all images of a split, as polygons or run lengths.

Drawn as pycocotools' `annToMask` does; the parts of one annotation are united. `iscrowd`, boxes and
areas decide nothing.
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lemore.config.read import did_you_mean
from lemore.data.archives.members import Member, normalize_name
from lemore.data.readers import rle
from lemore.data.readers.paint import Region
from lemore.data.readers.points import LONG, check_points, parse_json, show

KEPT = ("id", "image_id", "category_id")  # of an annotation, with its segmentation


@dataclass(frozen=True, slots=True)
class Annotations:
    """The annotations of one image, unread: (id, name of the category, segmentation).

    `sides` is (H, W) as the file claims it, None where it does not.
    """

    place: str
    sides: tuple[Any, Any]
    entries: list[tuple[Any, str, Any]]


def read_file(member: Member) -> dict[str, Annotations]:
    """Reads the annotations by the `file_name` of their image; ValueError names file and entry."""
    content = parse_json(member.read(), member.place, _pack)
    try:
        return _group(content, member.place)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{member.place}: not a COCO annotation file ({error!r})") from None


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


def _group(content: Any, place: str) -> dict[str, Annotations]:
    names: dict[Any, str] = {}
    for category in content["categories"]:
        if names.setdefault(category["id"], str(category["name"])) != str(category["name"]):
            raise ValueError(f"{place}: two categories have the id {show(category['id'])}")
    by_id: dict[Any, Annotations] = {}
    by_name: dict[str, Annotations] = {}
    for image in content["images"]:
        name = normalize_name(image["file_name"].replace("\\", "/").removeprefix("./"))
        if image["id"] in by_id or name in by_name:
            shown = f"{show(image['id'])}, {show(name)}"
            raise ValueError(f"{place}: image {shown}, is there twice")
        sides = image.get("height"), image.get("width")
        by_id[image["id"]] = by_name[name] = Annotations(f"{place}, image {show(name)}", sides, [])
    for entry in content["annotations"]:
        image, category = by_id.get(entry["image_id"]), names.get(entry["category_id"])
        if image is None or category is None:
            missing = "image_id" if image is None else "category_id"
            number, value = show(entry.get("id")), show(entry[missing])
            raise ValueError(
                f"{place}: annotation {number} has {missing} {value}, which is not there"
            )
        image.entries.append((entry.get("id"), category, entry.get("segmentation")))
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
    if any(claimed not in (None, side) for claimed, side in zip(image.sides, size, strict=True)):
        raise ValueError(f"says that the image is {show(image.sides)}, the photo is {size} (H, W)")
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
