"""YOLO's segmentation text: a line `<class> x1 y1 x2 y2 ...` for each polygon, in 0..1.

Drawn as Ultralytics draws polygons for semantic segmentation (`PolygonSemanticDataset`): corners
in float32 times the photo's size, cut to whole pixels, filled by OpenCV with their outline.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import cv2
import numpy as np

from lemore.data.archives.members import Member
from lemore.data.readers.paint import Region
from lemore.data.readers.points import read_small
from lemore.runtime.files import decode_text

TOLERANCE = 0.01  # how far outside 0..1 Ultralytics takes a coordinate


def list_regions(
    member: Member, numbers: Mapping[float, int], size: tuple[int, int]
) -> Iterator[Region]:
    """Yields the polygons of one file; `numbers`: train id by class number.

    ValueError with the line for what is no polygon.
    """
    lines = decode_text(read_small(member), member.place).splitlines()
    for row, line in enumerate(lines, 1):
        if words := line.split():
            try:
                yield _parse_line(words, numbers, size)
            except ValueError as error:
                raise ValueError(f"line {row}: {error}") from None


def _parse_line(words: list[str], numbers: Mapping[float, int], size: tuple[int, int]) -> Region:
    if len(words) == 5:
        raise ValueError("is a box (5 numbers); expected a class and the corners of a polygon")
    if len(words) < 7 or len(words) % 2 == 0:
        raise ValueError(f"{len(words)} numbers; expected a class and x, y of 3 corners or more")
    try:
        number, corners = float(words[0]), np.array(words[1:], np.float32).reshape(-1, 2)
    except ValueError:
        raise ValueError("not all of it is numbers") from None
    if number not in numbers:
        raise ValueError(f"class {number:g} is none of the classes and not ignored")
    if not ((corners >= -TOLERANCE) & (corners <= 1 + TOLERANCE)).all():
        raise ValueError("coordinates outside 0 to 1; expected shares of the photo's sides")
    pixels = (corners * np.array(size[::-1], np.float32)).astype(np.int32)
    return numbers[number], partial(_fill, pixels, size)


def _fill(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [corners], 1)
    return mask.astype(bool)
