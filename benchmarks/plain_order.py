"""The training transform in the order of mmsegmentation 0.x, one whole step after the other.

`lemore.data.augment.segmentation` must equal this for the same draws, and its speed is compared
with it: decode, resize the whole image, crop, flip, distort. It is slow on purpose; no training
uses it.
"""

import cv2
import numpy as np

from lemore.data.augment import photometric
from lemore.data.augment.photometric import Distortion
from lemore.data.augment.segmentation import CROP_ATTEMPTS, IGNORE, TrainTransform


def decode(photo: bytes, mask: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Decodes a photo and a PNG of train ids: (H x W x 3 uint8 RGB, H x W uint8)."""
    image = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR_RGB)
    label = cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None and label is not None
    return image, label


def transform(
    image: np.ndarray, label: np.ndarray, settings: TrainTransform, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns image and label map of `settings.crop_size`, padded; draws like `TrainTransform`."""
    image, label = _resize(image, label, settings, rng)
    image, label = _crop(image, label, settings, rng)
    if rng.random() < settings.flip_probability:
        image, label = np.flip(image, 1).copy(), np.flip(label, 1).copy()
    if settings.photometric_distortion != "none":
        image = distort(image, photometric.draw(rng))
    bottom, right = (settings.crop_size[a] - label.shape[a] for a in (0, 1))
    image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=0)
    return image, cv2.copyMakeBorder(label, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=IGNORE)


def _resize(
    image: np.ndarray, label: np.ndarray, settings: TrainTransform, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    ratio = rng.uniform(*settings.scale_range)
    box = [int(side * ratio) for side in settings.img_scale]
    factor = min(max(box) / max(label.shape), min(box) / min(label.shape))
    size = int(label.shape[1] * factor + 0.5), int(label.shape[0] * factor + 0.5)
    label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), label


def _crop(
    image: np.ndarray, label: np.ndarray, settings: TrainTransform, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    box = _box(label.shape, settings.crop_size, rng)
    for _ in range(CROP_ATTEMPTS if settings.cat_max_ratio < 1 else 0):
        values, counts = np.unique(label[box], return_counts=True)
        counts = counts[values != IGNORE]
        if len(counts) > 1 and counts.max() / counts.sum() < settings.cat_max_ratio:
            break
        box = _box(label.shape, settings.crop_size, rng)
    return image[box], label[box]


def _box(
    shape: tuple[int, ...], crop_size: tuple[int, int], rng: np.random.Generator
) -> tuple[slice, slice]:
    top, left = (int(rng.integers(max(shape[a] - crop_size[a], 0) + 1)) for a in (0, 1))
    return slice(top, top + crop_size[0]), slice(left, left + crop_size[1])


def distort(image: np.ndarray, drawn: Distortion) -> np.ndarray:
    """Applies the photometric distortion step by step, each ending in uint8."""
    if drawn.brightness is not None:
        image = _linear(image, 1.0, drawn.brightness)
    if drawn.contrast is not None and drawn.contrast_first:
        image = _linear(image, drawn.contrast, 0.0)
    if drawn.saturation is not None:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 1] = _linear(hsv[..., 1], drawn.saturation, 0.0)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if drawn.hue is not None:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + drawn.hue) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if drawn.contrast is not None and not drawn.contrast_first:
        image = _linear(image, drawn.contrast, 0.0)
    return image


def _linear(values: np.ndarray, factor: float, offset: float) -> np.ndarray:
    scaled = values.astype(np.float32) * np.float32(factor) + np.float32(offset)
    return np.clip(scaled, 0, 255).astype(np.uint8)
