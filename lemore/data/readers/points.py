"""Reads annotation files as text or JSON and checks points, for the three readers of polygons."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from lemore.data.archives.members import Member

MAX_TEXT = 256 << 20  # bytes of one photo's annotation; LabelMe may store the photo inside
LONG = 100  # characters of a file's own words in a message


def parse_json(data: bytes, place: str, hook: Callable[[dict], dict] | None = None) -> Any:
    """Parses JSON in UTF-8, with or without a byte order mark; ValueError that names `place`."""
    try:
        return json.loads(data, object_hook=hook)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: not valid JSON ({error})") from None


def read_small(member: Member) -> bytes:
    """Reads the annotation of one photo; ValueError if it cannot be that by its size."""
    if member.size > MAX_TEXT:
        raise ValueError(f"is {member.size:,} bytes, too many for the annotation of one photo")
    return member.read()


def show(value: Any) -> str:
    """Returns a value of a file for a message: in one line, and cut if it is long."""
    text = repr(value)
    return text if len(text) <= LONG else f"{text[:LONG]}..."


def check_points(points: Any, size: tuple[int, int]) -> np.ndarray:
    """Returns points as N x 2 float64 (x, y); ValueError if they are no points of such a photo.

    What lies outside is cut off by the drawing, as the tools of the formats do. But a point that is
    further away than the photo is large is a mistake, and would cost their drawing much memory.
    """
    try:
        found = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("its points are no pairs of numbers") from None
    if found.ndim != 2 or found.shape[1] != 2:
        raise ValueError("its points are no pairs of numbers")
    side = np.array(size[::-1])
    far = ~((found >= -side) & (found <= 2 * side)).all(axis=1)  # NaN too
    if far.any():
        x, y = found[far][0].tolist()
        raise ValueError(
            f"point ({x:g}, {y:g}) lies far outside the photo of {size[1]} x {size[0]} pixels"
        )
    return found
