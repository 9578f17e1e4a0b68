"""A contact sheet of a prepared split: photos above their label maps, for a quick look."""

from pathlib import Path

import cv2
import numpy as np

from lemore.data.store import Store
from lemore.runtime.files import write_atomic

CELL = (144, 192)  # (H, W) of one picture on the sheet
SAMPLES = 8


def write_sheet(store: Store, path: Path) -> None:
    """Writes a JPEG of up to 8 samples spread evenly over the split; nothing for an empty one."""
    if len(store) == 0:
        return
    chosen = [int(i) for i in np.unique(np.linspace(0, len(store) - 1, SAMPLES).astype(int))]
    rows = [[_fit(store.read_image(i)) for i in chosen]]
    if store.task == "segmentation":
        colors = np.zeros((256, 3), np.uint8)  # by train id, black for ignored pixels
        colors[: store.num_classes] = store.read_colors()
        rows.append([_fit(colors[store.read_label(i)], nearest=True) for i in chosen])
    sheet = np.vstack([np.hstack(row) for row in rows])
    done, data = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert done
    write_atomic(path, data.tobytes())


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
