"""The boxes of one photo as they go into a store, and which of them are odd."""

import hashlib
from collections import Counter
from typing import Any

import numpy as np

from lemore.config.size import Size
from lemore.data import objects
from lemore.data.objects import Objects

CROWD, FLAT, BEYOND = "crowd", "without area", "beyond the photo"  # kinds of boxes


def pack_objects(found: Objects, size: Size, image_id: int) -> dict[str, Any]:
    """Cuts the boxes to their photo of `size` (H, W) and packs them.

    Returns the fields that a prepared sample has of them. `pixels` counts the boxes by train id,
    `boxes` crowds and odd ones.
    """
    cut = found.clip(size)
    label = objects.pack(cut, image_id)
    beyond = np.abs(cut.boxes - found.boxes).max(axis=1, initial=0) > 1
    return {
        "label": label,
        "label_sha256": hashlib.sha256(label).hexdigest(),
        "pixels": dict(Counter(cut.classes.tolist())),
        "boxes": {
            CROWD: int(cut.crowd.sum()),
            FLAT: int((cut.sizes <= 0).any(axis=1).sum()),
            BEYOND: int(beyond.sum()),
        },
    }
