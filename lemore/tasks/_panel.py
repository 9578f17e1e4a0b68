"""A picture of an image beside its label maps, to be looked at in MLflow."""

from collections.abc import Sequence

import cv2
import numpy as np

SHARE = 0.7  # of the class colours; the rest is the image
GAP = 8  # white pixels between the pictures


def panel(
    image: np.ndarray, labels: Sequence[np.ndarray], colors: Sequence[tuple[int, int, int]]
) -> bytes:
    """JPEG of `image` (H W 3 uint8 RGB) and of each label map (H W uint8) over it, left to right.

    Pixels of no class show the image.
    """
    table = np.zeros((256, 3))
    table[: len(colors)] = colors
    gap = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    pictures = [image]
    for label in labels:
        share = np.where(label < len(colors), SHARE, 0.0)[..., None]
        over = share * table[label] + (1 - share) * image
        pictures += [gap, over.round().astype(np.uint8)]
    done, data = cv2.imencode(".jpg", np.hstack(pictures)[..., ::-1])
    assert done
    return data.tobytes()
