"""A contact sheet of a prepared split, for a quick look: photos above their label maps, or with
their boxes."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lemore.data.objects import Objects
from lemore.data.store import Store
from lemore.runtime.files import write_atomic

CELL = (144, 192)  # (H, W) of one picture on the sheet
SAMPLES = 8


def write_sheet(store: Store, path: Path) -> None:
    """Writes a JPEG of up to 8 samples spread evenly over the split; nothing for an empty one."""
    if len(store) == 0:
        return
    chosen = [int(i) for i in np.unique(np.linspace(0, len(store) - 1, SAMPLES).astype(int))]
    photos = [store.read_image(i) for i in chosen]
    if store.task == "detection":
        found, colors = (store.read_label(i) for i in chosen), store.read_colors()
        photos = [draw_boxes(*pair, colors) for pair in zip(photos, found, strict=True)]
    rows = [[_fit(photo) for photo in photos]]
    if store.task == "segmentation":
        colors = np.zeros((256, 3), np.uint8)  # by train id, black for ignored pixels
        colors[: store.num_classes] = store.read_colors()
        rows.append([_fit(colors[store.read_label(i)], nearest=True) for i in chosen])
    sheet = np.vstack([np.hstack(row) for row in rows])
    done, data = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert done
    write_atomic(path, data.tobytes())


def draw_boxes(
    photo: np.ndarray, found: Objects, colors: Sequence[tuple[int, int, int]]
) -> np.ndarray:
    """Returns a copy of a photo, H x W x 3 uint8 RGB, with its boxes in the colours of their class.

    The boxes of crowds are twice as thick.
    """
    drawn, width = photo.copy(), max(1, round(min(photo.shape[:2]) / 150))
    boxes = found.boxes.round().astype(int).tolist()
    for box, k, crowd in zip(boxes, found.classes.tolist(), found.crowd.tolist(), strict=True):
        cv2.rectangle(drawn, box[:2], box[2:], colors[k], width * (1 + crowd))
    return drawn


def _fit(picture: np.ndarray, nearest: bool = False) -> np.ndarray:
    """Puts the picture into the middle of a white cell, aspect kept."""
    height, width = CELL
    factor = min(height / picture.shape[0], width / picture.shape[1])
    inner = (max(1, int(picture.shape[1] * factor)), max(1, int(picture.shape[0] * factor)))
    small = cv2.resize(picture, inner, interpolation=0 if nearest else cv2.INTER_AREA)
    cell = np.full((height, width, 3), 255, np.uint8)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    cell[top : top + inner[1], left : left + inner[0]] = small
    return cell
