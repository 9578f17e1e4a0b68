"""One drawn picture, encoded as its dataset stores it: photo, and label in the raw coding.

Everything follows from (seed, index): the same numbers give the same pixels, whatever process
draws them and in whatever order.
"""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.data.readers import rle
from lemore.data.readers.pascal_ids import SPARSE_IDS
from lemore.scenes.archives import pack_mat
from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.outdoors import draw_landscape
from lemore.scenes.drawing.rooms import draw_room
from lemore.scenes.drawing.singles import OBJECTS, draw_single
from lemore.scenes.drawing.streets import draw_street
from lemore.scenes.objects import list_objects
from lemore.scenes.words import read_raw_values

OBJECT_CLASSES = tuple(OBJECTS)
UPRIGHT = 4  # of COCO's pictures, one in so many stands upright


@dataclass(frozen=True)
class ScenePicture:
    """An encoded picture; `label` in the raw coding: encoded, or masks, objects, a class number."""

    size: tuple[int, int]
    image: bytes
    label: Any
    color: bytes = b""


def draw_scene(
    kind: Literal["mixed", "streets"], size: tuple[int, int], seed: int, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws (image H x W x 3 uint8 RGB, label H x W uint8 positions in WORDS) of scene `index`.

    `streets` are seen from a car; `mixed` are rooms, streets and landscapes.
    """
    return draw_canvas(kind, size, seed, index).finish()


def draw_canvas(
    kind: Literal["mixed", "streets"], size: tuple[int, int], seed: int, index: int
) -> Canvas:
    """Draws what `draw_scene` does, unfinished: with the bodies in it."""
    rng = np.random.Generator(np.random.Philox(key=[seed, index]))
    if kind == "streets":
        return draw_street(size, rng, hood=True)
    where = rng.random()
    if where < 0.45:
        return draw_room(size, rng)
    return draw_street(size, rng, hood=False) if where < 0.85 else draw_landscape(size, rng)


def draw_object(class_number: int, size: tuple[int, int], seed: int, index: int) -> np.ndarray:
    """Draws picture `index` of one of OBJECT_CLASSES: H x W x 3 uint8 RGB, near the given size."""
    rng = np.random.Generator(np.random.Philox(key=[seed, index]))
    height, width = (int(side * rng.uniform(0.85, 1.2)) for side in size)
    return draw_single(OBJECT_CLASSES[class_number], (height, width), rng)


def draw_encoded(config: DatasetConfig, index: int) -> ScenePicture:
    """Draws and encodes picture `index` of a dataset; this runs in worker processes."""
    plan, reader = config.scenes, config.reader
    assert plan is not None
    if plan.kind == "objects":
        number = index % len(OBJECT_CLASSES)
        image = draw_object(number, plan.size, plan.seed, index)
        return ScenePicture(plan.size, encode_jpeg(image), number)
    if reader == "coco_detection":
        height, width = plan.size
        size = (width, height) if index % UPRIGHT == UPRIGHT - 1 else (height, width)
        canvas = draw_canvas(plan.kind, size, plan.seed, index)
        image, words = canvas.finish()
        return ScenePicture(size, encode_jpeg(image), list_objects(canvas, words))
    image, words = draw_scene(plan.kind, plan.size, plan.seed, index)
    raw = read_raw_values(reader)[words]
    if reader == "cityscapes":
        table, colors = labels.load("cityscapes"), np.zeros((256, 3), np.uint8)
        colors[list(table.raw_ids)] = table.colors
        return ScenePicture(plan.size, encode_png(image), encode_png(raw), encode_png(colors[raw]))
    if reader == "pascal_context":
        ids = [int(value) for value in np.unique(raw) if value]  # 0 has no category
        masks = [(int(SPARSE_IDS[value]), rle.encode(raw == value)) for value in ids]
        return ScenePicture(plan.size, encode_jpeg(image), masks)
    label = pack_mat({"S": raw}) if reader == "coco_stuff_10k" else encode_png(raw)
    return ScenePicture(plan.size, encode_jpeg(image), label)


def encode_jpeg(image: np.ndarray) -> bytes:
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert done
    return data.tobytes()


def encode_png(image: np.ndarray) -> bytes:
    """Encodes H x W, or H x W x 3 RGB."""
    done, data = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    assert done
    return data.tobytes()
