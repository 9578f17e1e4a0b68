"""Average precision of detected boxes, by COCO's own tool.

Annotations and predictions are in the layout of COCO's JSON, where a box is [x, y, width, height].
Its classes are category ids, COCO's own from 1 to 90; train ids are positions in their list.
"""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Row = Mapping[str, Any]  # of COCO's JSON
MEASURES = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l")  # the first of COCOeval's twelve


def make_annotations(
    image_id: int,
    boxes: np.ndarray,
    classes: np.ndarray,
    crowd: np.ndarray,
    areas: np.ndarray,
    category_ids: Sequence[int],
) -> list[Row]:
    """Makes the annotations of an image.

    boxes: N 4, x1 y1 x2 y2 in pixels. classes: N train ids. crowd: N bool, regions of many objects.
    areas: N, of the objects in square pixels, which COCO's size classes go by.
    """
    rows = _list_boxes(image_id, boxes, classes, category_ids)
    extra = zip(areas.tolist(), crowd.tolist(), strict=True)
    return [
        row | {"area": area, "iscrowd": int(many)}
        for row, (area, many) in zip(rows, extra, strict=True)
    ]


def make_results(
    image_id: int,
    boxes: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray,
    category_ids: Sequence[int],
) -> list[Row]:
    """Makes the predictions of an image, in the form that COCO's server takes.

    boxes: N 4, x1 y1 x2 y2 in pixels. classes: N train ids. scores: N, larger is surer.
    """
    rows = _list_boxes(image_id, boxes, classes, category_ids)
    return [row | {"score": score} for row, score in zip(rows, scores.tolist(), strict=True)]


def _list_boxes(
    image_id: int, boxes: np.ndarray, classes: np.ndarray, category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    corners = boxes.astype(np.float64).reshape(-1, 4)
    sides = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]).tolist()
    return [
        {"image_id": int(image_id), "category_id": int(category_ids[number]), "bbox": box}
        for box, number in zip(sides, classes.tolist(), strict=True)
    ]


def measure(
    image_ids: Iterable[int],
    category_ids: Iterable[int],
    annotations: Iterable[Row],
    results: Iterable[Row],
) -> dict[str, Any]:
    """Measures the predictions on all images: COCO's average precisions as fractions.

    The IoU from 0.50 to 0.95, at 0.50, at 0.75; then of small, medium and large objects; then
    `ap_by_class`, a list of the first of these in the order of the category ids. None where there
    is no object to find. Crowds and areas are honoured as COCO's tool does: what lies in a crowd is
    neither right nor wrong. ValueError for a prediction on an image that is not measured, or of an
    unknown category.
    """
    images = [{"id": number} for number in dict.fromkeys(image_ids)]
    categories = [{"id": number} for number in dict.fromkeys(category_ids)]
    known = {"image_id": images, "category_id": categories}
    allowed = {key: {one["id"] for one in rows} for key, rows in known.items()}
    found = [_describe_result(row, allowed) for row in results]
    with contextlib.redirect_stdout(io.StringIO()):  # the tool prints its progress
        truth, guess = (
            _index({"images": images, "categories": categories}, rows)
            for rows in (annotations, found)
        )
        tool: Any = COCOeval(truth, guess, "bbox")
        tool.evaluate()
        tool.accumulate()
        tool.summarize()
    # by IoU, recall, category, area and number of boxes: all areas, the most boxes
    precision = tool.eval["precision"][:, :, :, 0, -1]
    by_id = dict(zip(tool.params.catIds, precision.mean(axis=(0, 1)), strict=True))
    totals = _replace_absent(tool.stats[: len(MEASURES)])
    by_class = _replace_absent(by_id[one["id"]] for one in categories)
    return {**dict(zip(MEASURES, totals, strict=True)), "ap_by_class": by_class}


def _replace_absent(values: Iterable[float]) -> list[float | None]:
    """Replaces COCOeval's -1, for no object to find, by None."""
    return [None if value < 0 else float(value) for value in values]


def _describe_result(row: Row, allowed: Mapping[str, set[int]]) -> dict[str, Any]:
    """Adds what COCO's `loadRes` adds to a box: its own area, by which it is small or large."""
    for key, ids in allowed.items():
        if row[key] not in ids:
            raise ValueError(f"a prediction has {key} {row[key]}, which the annotations lack")
    return {**row, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}


def _index(rest: dict[str, Any], rows: Iterable[Row]) -> COCO:
    """Numbers rows from 1, since COCOeval takes a match with number 0 for none."""
    coco: Any = COCO()  # its stubs know the keys of files alone
    numbered = [{**row, "id": number} for number, row in enumerate(rows, start=1)]
    coco.dataset = rest | {"annotations": numbered}
    coco.createIndex()
    return coco
