"""One drawn scene, encoded as its dataset stores it: photo, and label in the raw coding."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.data.archives import rle
from lemore.data.readers.pascal_ids import SPARSE_IDS
from lemore.scenes import pictures
from lemore.scenes.archives import mat_bytes

# The only table in which every raw value of the coding has a name.
TABLES = {
    "ade20k": "ade20k",
    "cityscapes": "cityscapes",
    "pascal_context": "pascal_context_60",
    "coco_stuff_10k": "coco_stuff_10k",
}


@dataclass(frozen=True)
class Job:
    config: DatasetConfig
    index: int


@dataclass(frozen=True)
class Drawn:
    """An encoded picture; `label` in the raw coding: encoded, or masks, or a class number."""

    size: tuple[int, int]
    image: bytes
    label: Any
    color: bytes = b""


def draw(job: Job) -> Drawn:
    plan = job.config.scenes
    assert plan is not None
    if plan.kind == "objects":
        number = job.index % len(pictures.OBJECT_CLASSES)
        image = pictures.draw_object(number, plan.size, plan.seed, job.index)
        return Drawn(plan.size, jpeg(image), number)
    image, words = pictures.draw_scene(plan.kind, plan.size, plan.seed, job.index)
    reader = job.config.reader
    raw = pictures.raw_values(reader, TABLES[reader])[words]
    if reader == "cityscapes":
        return Drawn(plan.size, png(image), png(raw), png(_colored(raw)))
    if reader == "pascal_context":
        return Drawn(plan.size, jpeg(image), _masks(raw))
    if reader == "coco_stuff_10k":
        return Drawn(plan.size, jpeg(image), mat_bytes({"S": raw}))
    return Drawn(plan.size, jpeg(image), png(raw))


def jpeg(image: np.ndarray) -> bytes:
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert done
    return data.tobytes()


def png(image: np.ndarray) -> bytes:
    """H x W, or H x W x 3 RGB."""
    done, data = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    assert done
    return data.tobytes()


def _colored(raw: np.ndarray) -> np.ndarray:
    table = labels.load("cityscapes")
    colors = np.zeros((256, 3), np.uint8)
    for raw_id, color in zip(table.raw_ids, table.colors, strict=True):
        colors[raw_id] = color
    return colors[raw]


def _masks(raw: np.ndarray) -> list[tuple[int, dict[str, Any]]]:
    """(category id, run-length mask) of every class in an H x W map of 0..59; 0 has none."""
    values = [int(value) for value in np.unique(raw) if value]
    return [(int(SPARSE_IDS[value]), rle.encode(raw == value)) for value in values]
