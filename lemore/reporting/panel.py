"""One image beside its label maps, to be looked at in MLflow."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lemore.reporting.overlay import Color, overlay
from lemore.reporting.prediction import encoded

GAP = 8  # white pixels between the pictures


def panel(image: np.ndarray, labels: Sequence[np.ndarray], colors: Sequence[Color]) -> bytes:
    """JPEG of `image` (H W 3 uint8 RGB) and, right of it, of each label map (H W uint8) over it."""
    gap = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    pictures = [image]
    for label in labels:
        pictures += [gap, overlay(image, label, colors)]
    return encoded(Image.fromarray(np.hstack(pictures)), ".jpg")
