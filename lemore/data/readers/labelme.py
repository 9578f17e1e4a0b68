"""LabelMe's JSON: the shapes of one photo.

Drawn as LabelMe's `shape_to_mask` and `shapes_to_label` do: by Pillow, later shapes over earlier
ones, lines 10 pixels wide, points as discs of radius 5. Groups, flags and a photo stored inside
decide nothing.
"""

import base64
import binascii
import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lemore.config.read import did_you_mean
from lemore.data.archives.masks import decode_label
from lemore.data.archives.members import Member
from lemore.data.readers.paint import Region
from lemore.data.readers.points import LONG, check_points, parse_json, read_small, show

LINE_WIDTH, POINT_RADIUS = 10, 5  # pixels
MANY = 1 << 30
# Least and largest number of points by type of shape.
COUNTS = {
    "polygon": (3, MANY),
    "rectangle": (2, 2),
    "oriented_rectangle": (4, 4),
    "circle": (2, 2),
    "line": (2, 2),
    "linestrip": (2, MANY),
    "point": (1, 1),
    "mask": (2, 2),
}


def list_regions(
    member: Member, numbers: Mapping[str, int], size: tuple[int, int]
) -> Iterator[Region]:
    """Yields the shapes of one file; `numbers`: train id by label.

    ValueError with the shape's position, from 1 on, for what cannot be drawn.
    """
    content = parse_json(read_small(member), member.place)
    list_labels(content)
    claimed = content.get("imageHeight"), content.get("imageWidth")
    for found, side, name in zip(claimed, size, ("imageHeight", "imageWidth"), strict=True):
        if found is not None and found != side:
            raise ValueError(f"{name} is {found}, the photo is {size} (H, W)")
    for row, shape in enumerate(content["shapes"], 1):
        try:
            yield _parse_shape(shape, numbers, size)
        except ValueError as error:
            raise ValueError(f"shape {row}: {error}") from None


def list_labels(content: Any) -> list[str]:
    """Returns the labels of a parsed file's shapes; ValueError if it is no file of LabelMe."""
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise ValueError("not a LabelMe file: it has no list of shapes")
    for row, shape in enumerate(content["shapes"], 1):
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            raise ValueError(f"shape {row}: it has no label")
    return [shape["label"] for shape in content["shapes"]]


def _parse_shape(shape: dict, numbers: Mapping[str, int], size: tuple[int, int]) -> Region:
    label, kind = shape["label"], shape.get("shape_type") or "polygon"
    if label not in numbers:
        near = did_you_mean(label[:LONG], map(str, numbers))
        raise ValueError(f"label {show(label)} is in no class and not ignored{near}")
    if not isinstance(kind, str) or kind not in COUNTS:
        raise ValueError(f"shape_type {show(kind)}, expected one of {', '.join(COUNTS)}")
    points = check_points(shape.get("points"), size)
    least, most = COUNTS[kind]
    if not least <= len(points) <= most:
        expected = f"{least} points" + (" or more" if most == MANY else "")
        raise ValueError(f"{kind} {show(label)} with {len(points)} points, expected {expected}")
    if kind == "mask":
        return numbers[label], partial(_place, *_read_mask(shape.get("mask"), points, size), size)
    return numbers[label], partial(_draw, kind, [(x, y) for x, y in points.tolist()], size)


def _draw(kind: str, points: list[tuple[float, float]], size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(np.zeros(size, np.uint8))
    draw = ImageDraw.Draw(image)
    if kind == "circle":
        draw.ellipse(_surround(points[0], math.dist(*points)), outline=1, fill=1)
    elif kind == "point":
        draw.ellipse(_surround(points[0], POINT_RADIUS), outline=1, fill=1)
    elif kind == "rectangle":
        (left, right), (top, bottom) = map(sorted, zip(*points, strict=True))
        draw.rectangle((left, top, right, bottom), outline=1, fill=1)
    elif kind in ("line", "linestrip"):
        draw.line(points, fill=1, width=LINE_WIDTH)
    else:
        draw.polygon(points, outline=1, fill=1)
    return np.array(image, bool)


def _surround(center: tuple[float, float], radius: float) -> tuple[float, float, float, float]:
    x, y = center
    return x - radius, y - radius, x + radius, y + radius


def _read_mask(text: Any, points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """Returns the pixels of a mask and where they begin (top, left); its corners are included."""
    try:
        mask = decode_label(base64.b64decode(text, validate=True)).astype(bool)
    except (TypeError, binascii.Error):
        raise ValueError("its mask is no PNG in base 64") from None
    (left, top), (right, bottom) = points.astype(int).tolist()
    inside = min(left, top) >= 0 and right < size[1] and bottom < size[0]
    if not inside or mask.shape != (bottom - top + 1, right - left + 1):
        raise ValueError(f"a mask of {mask.shape} (H, W) does not fit its corners, or the photo")
    return mask, top, left


def _place(mask: np.ndarray, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(size, bool)
    whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return whole
