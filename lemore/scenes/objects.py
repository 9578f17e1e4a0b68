"""The objects in a drawn scene, as COCO's annotations: what is seen of every body."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from lemore.config import labels
from lemore.data.readers import rle
from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.words import INDEX, read_raw_values

LEAST = 16  # pixels; smaller objects are not annotated


def list_objects(canvas: Canvas, words: np.ndarray) -> list[dict[str, Any]]:
    """Lists COCO's annotations without their ids. words: H x W, the label of the finished canvas.

    A sign is without its pole, a bed without its pillows; the books of a shelf are one crowd.
    """
    masks = _list_masks(canvas, words)
    return [_annotate(*found) for found in masks if found[1].sum() >= LEAST]


def _list_masks(canvas: Canvas, words: np.ndarray) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Yields (category id, H x W bool, whether it is a crowd)."""
    ids = read_raw_values("coco_stuff_10k").astype(int)  # its things have COCO's category ids
    ids[~np.isin(ids, labels.load("coco").ids)] = 0
    owners = canvas.show_owners()
    for number in np.unique(owners[owners > 0]).tolist():
        seen = np.where(owners == number, ids[words], 0)
        own = ids[INDEX[canvas.bodies[number - 1].split(":")[0]]]
        for category in np.unique(seen[seen > 0]).tolist():
            yield category, seen == category, category != own


def _annotate(category: int, mask: np.ndarray, crowd: bool) -> dict[str, Any]:
    rows, columns = (np.flatnonzero(mask.any(axis)).tolist() for axis in (1, 0))
    width, height = columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
    return {
        "category_id": category,
        "iscrowd": int(crowd),
        "area": int(mask.sum()),
        "bbox": [columns[0], rows[0], width, height],
        "segmentation": _encode_runs(mask) if crowd else _trace(mask),
    }


def _encode_runs(mask: np.ndarray) -> dict[str, Any]:
    """Run lengths as COCO has them for crowds: a list, not a text."""
    encoded = rle.encode(mask)
    return {"size": encoded["size"], "counts": rle.read_runs(encoded).tolist()}


def _trace(mask: np.ndarray) -> list[list[float]]:
    """Polygons around the parts of a mask."""
    external, simple = cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    contours, _ = cv2.findContours(mask.astype(np.uint8), external, simple)
    return [points.ravel().tolist() for points in contours if len(points) > 2]
