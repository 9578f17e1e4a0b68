"""Training and test transforms of segmentation, in numpy and OpenCV.

Training follows mmsegmentation 0.x as TopFormer and SegFormer use it: random resize with the aspect
kept, random crop with a limit on the share of one class, flip, photometric distortion, padding at
the bottom and right. Only what the crop needs is resampled; the result is that of resizing the
whole image first, bit by bit (tests/data/test_transforms.py). Sizes are (H, W), images RGB uint8.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np

from lemore.config.labels import IGNORE
from lemore.data.augment import photometric
from lemore.data.augment.mixture import Mixture
from lemore.data.augment.photometric import Distortion

CROP_ATTEMPTS = 10


class Crop(NamedTuple):
    """A training sample of fixed size.

    image: uint8 (H, W, 3), 0 in the padding. label: uint8 (H, W) train ids, 255 in the padding;
    for classification the class as int. valid: (h, w), the part that is not padding. distortion:
    the draws for the training device, if that is to distort. mixture: those for mixing images.
    """

    image: np.ndarray
    label: np.ndarray | int
    valid: tuple[int, int]
    distortion: Distortion | None = None
    mixture: Mixture | None = None


@dataclass(frozen=True)
class TrainTransform:
    """Random resize, crop, flip and photometric distortion of an image with its label map.

    img_scale: (long, short) side in pixels that the image fits into, times U(scale_range).
    scale_step: draws from the scales that lie so far apart in that range (detectron2); 0: from all.
    crop_size: (H, W). cat_max_ratio: a crop in which one class holds this share or more is redrawn,
    up to 10 times; 1.0 turns the check off. photometric_distortion: "cpu" applies it here, "device"
    draws the same and leaves it to `lemore.data.augment.photometric_batch`.
    """

    img_scale: tuple[int, int]
    scale_range: tuple[float, float]
    crop_size: tuple[int, int]
    cat_max_ratio: float
    flip_probability: float
    photometric_distortion: Literal["none", "cpu", "device"]
    scale_step: float = 0.0

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Crop:
        """Image (H, W, 3) uint8 and label (H, W) uint8 of any size give a `Crop` of `crop_size`."""
        if image.shape[:2] != label.shape:
            raise ValueError(f"image is {image.shape[:2]}, label {label.shape}: unequal sizes")
        ratio = self._draw_scale(rng)
        long, short = (int(side * ratio) for side in self.img_scale)
        size = fit_size(label.shape, (long, short))
        (top, left), crop_label = self._draw_window(label, size, rng)
        valid = crop_label.shape
        crop_image = resize_window(image, size, (top, left), valid)
        if rng.random() < self.flip_probability:
            crop_image, crop_label = cv2.flip(crop_image, 1), cv2.flip(crop_label, 1)
        drawn = None if self.photometric_distortion == "none" else photometric.draw(rng)
        if drawn is not None and self.photometric_distortion == "cpu":
            crop_image, drawn = photometric.distort(crop_image, drawn), None
        image, label = pad(crop_image, self.crop_size, 0), pad(crop_label, self.crop_size, IGNORE)
        return Crop(image, label, valid, drawn)

    def _draw_scale(self, rng: np.random.Generator) -> float:
        low, high = self.scale_range
        if self.scale_step == 0:
            return rng.uniform(low, high)
        count = round((high - low) / self.scale_step) + 1
        return low + self.scale_step * int(rng.integers(count))

    def _draw_window(
        self, label: np.ndarray, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[tuple[int, int], np.ndarray]:
        """(top, left) of the crop in the resized image, and its label."""
        rows, columns = (find_nearest(label.shape[axis], size[axis]) for axis in (0, 1))
        height, width = (min(size[axis], self.crop_size[axis]) for axis in (0, 1))
        attempts = CROP_ATTEMPTS if self.cat_max_ratio < 1 else 0
        for attempt in range(attempts + 1):
            top = int(rng.integers(size[0] - height + 1))
            left = int(rng.integers(size[1] - width + 1))
            window = label.take(rows[top : top + height], 0).take(columns[left : left + width], 1)
            # The last draw is taken as it is, as in the original.
            if attempt == attempts or is_mixed(window, self.cat_max_ratio):
                return (top, left), window
        raise AssertionError("the last attempt returns")


def fit_size(size: tuple[int, int], img_scale: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the largest image of the same aspect inside a long and a short side (mmcv 0.x)."""
    factor = min(max(img_scale) / max(size), min(img_scale) / min(size))
    return int(size[0] * factor + 0.5), int(size[1] * factor + 0.5)


def find_nearest(source: int, target: int) -> np.ndarray:
    """Returns the source index for each of `target` positions, as in OpenCV's INTER_NEAREST."""
    step = 1.0 / (target / source)  # in this order: OpenCV rounds twice, too
    return np.minimum(np.floor(np.arange(target) * step).astype(np.intp), source - 1)


def resize_window(
    image: np.ndarray, size: tuple[int, int], corner: tuple[int, int], window: tuple[int, int]
) -> np.ndarray:
    """Returns `cv2.resize(image, size)[top:top + h, left:left + w]` (bilinear) at less cost.

    The parts below and right of the window are not resampled. Those above and left are: a later
    start would need a fractional offset into the source, which OpenCV's resize does not offer.
    """
    ends = [corner[axis] + window[axis] for axis in (0, 1)]
    factors = [size[axis] / image.shape[axis] for axis in (0, 1)]
    # Two pixels more than the last sample's position, so that its right neighbour is there.
    rows, columns = (math.ceil(end / factor) + 2 for end, factor in zip(ends, factors, strict=True))
    part = image[:rows, :columns]
    resized = cv2.resize(part, None, fx=factors[1], fy=factors[0], interpolation=cv2.INTER_LINEAR)
    if resized.shape == part.shape:  # for a factor near 1 OpenCV has copied it instead
        resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return resized[corner[0] : ends[0], corner[1] : ends[1]]


def is_mixed(label: np.ndarray, max_ratio: float) -> bool:
    """Returns whether several classes share the labelled pixels, none with `max_ratio` or more."""
    counts = cv2.calcHist([label], [0], None, [256], [0, 256]).ravel()[:IGNORE]
    if np.count_nonzero(counts) < 2:
        return False
    return float(counts.max()) / float(counts.sum()) < max_ratio


def pad(array: np.ndarray, size: tuple[int, int], value: int) -> np.ndarray:
    """Pads `array` (h, w[, 3]) with `value` at the bottom and right to `size` (H, W)."""
    if array.shape[:2] == size:
        return np.ascontiguousarray(array)
    padded = np.full(size + array.shape[2:], value, dtype=array.dtype)
    padded[: array.shape[0], : array.shape[1]] = array
    return padded


def resize_for_test(image: np.ndarray, img_scale: tuple[int, int], align: int | None) -> np.ndarray:
    """Fits a test image (H, W, 3) uint8 into (long, short), aspect kept, bilinear.

    `align` resizes once more to the next multiples of it, which distorts a little (TopFormer's
    ResizeToMultiple, SegFormer's AlignedResize: 32).
    """
    height, width = fit_size(image.shape[:2], img_scale)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    if align is None:
        return image
    height, width = (math.ceil(side / align) * align for side in (height, width))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
