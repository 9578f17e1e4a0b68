"""Training and test transforms of classification. Sizes are (H, W)."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from lemore.data.augment import mixture, rand_augment
from lemore.data.augment.segmentation import Crop
from lemore.data.normalize import MEAN, STD
from lemore.data.photo import Photo

CROP_ATTEMPTS = 10
ERASED_SHARE = (0.02, 1 / 3)  # of the area
ERASED_RATIO = (0.3, 1 / 0.3)  # height / width


@dataclass(frozen=True)
class ClassificationTransform:
    """Random part of an image, resized to `crop_size` (Inception's crop), and further randomness.

    scale_range: share of the area. ratio_range: width / height, drawn log-uniformly.
    rand_augment: magnitude and its deviation, and increasing: see `rand_augment`.
    random_erasing: probability that a rectangle becomes noise. mixup, cutmix: see `mixture.draw`.
    """

    crop_size: tuple[int, int]
    scale_range: tuple[float, float]
    ratio_range: tuple[float, float]
    flip_probability: float
    rand_augment: tuple[float, float] | None = None
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    rand_augment_increasing: bool = False

    def __call__(self, photo: Photo, label: int, rng: np.random.Generator) -> Crop:
        """Photo and class give a `Crop` of `crop_size` without padding.

        The part is drawn on the photo as photographed, whatever size of it is kept.
        """
        part = photo.read_part(self.draw_part(photo.size, rng), self.crop_size)
        crop = resize_antialiased(part, self.crop_size)
        if rng.random() < self.flip_probability:
            crop = cv2.flip(crop, 1)
        if self.rand_augment is not None:
            drawn = rand_augment.draw(*self.rand_augment, rng, self.rand_augment_increasing)
            crop = rand_augment.apply(crop, drawn)
        if rng.random() < self.random_erasing:
            erase(crop, rng)
        mixed = mixture.draw(self.mixup, self.cutmix, self.crop_size, rng)
        return Crop(crop, int(label), self.crop_size, mixture=mixed)

    def draw_part(
        self, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[int, int, int, int]:
        """Draws the part of an image of `size` for the crop: (top, left, height, width)."""
        low, high = (math.log(ratio) for ratio in self.ratio_range)
        for _ in range(CROP_ATTEMPTS):
            area = size[0] * size[1] * rng.uniform(*self.scale_range)
            ratio = math.exp(rng.uniform(low, high))
            height, width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < height <= size[0] and 0 < width <= size[1]:
                top = int(rng.integers(size[0] - height + 1))
                return top, int(rng.integers(size[1] - width + 1)), height, width
        # None fitted: the central part.
        ratio = min(max(size[1] / size[0], self.ratio_range[0]), self.ratio_range[1])
        height = min(size[0], round(size[1] / ratio))
        width = min(size[1], round(size[0] * ratio))
        return (size[0] - height) // 2, (size[1] - width) // 2, height, width


def erase(image: np.ndarray, rng: np.random.Generator) -> None:
    """Fills a random rectangle with noise, in place (Zhong et al., "Random Erasing", 2017).

    As timm's mode "pixel": standard normal in the normalised image, but cut to 0..255.
    """
    size = image.shape[:2]
    low, high = (math.log(ratio) for ratio in ERASED_RATIO)
    for _ in range(CROP_ATTEMPTS):
        area = size[0] * size[1] * rng.uniform(*ERASED_SHARE)
        ratio = math.exp(rng.uniform(low, high))
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < height < size[0] and 0 < width < size[1]:
            top, left = (
                int(rng.integers(size[a] - side + 1)) for a, side in ((0, height), (1, width))
            )
            cv2.setRNGSeed(int(rng.integers(2**31)))
            part = image[top : top + height, left : left + width]
            cv2.randn(part, np.array(MEAN), np.array(STD))  # cut to 0..255
            return


def resize_antialiased(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes (H, W, 3) uint8 to (H, W) as Pillow's bilinear filter does: a side that shrinks is
    averaged, one that grows is interpolated."""
    # With the axes in this order torch takes its kernel for interleaved channels.
    pixels = torch.from_numpy(np.ascontiguousarray(image))[None].permute(0, 3, 1, 2)
    resized = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def crop_center(image: np.ndarray, crop_size: tuple[int, int], share: float) -> np.ndarray:
    """Classification test image: resized so that the crop is `share` of a side, then its centre.

    The usual 224 of 256 is `share` 0.875. Returns uint8 (H, W, 3) of `crop_size`.
    """
    factor = max(crop_size[axis] / share / image.shape[axis] for axis in (0, 1))
    size = [max(round(image.shape[axis] * factor), crop_size[axis]) for axis in (0, 1)]
    image = resize_antialiased(image, (size[0], size[1]))
    top, left = ((size[axis] - crop_size[axis]) // 2 for axis in (0, 1))
    return np.ascontiguousarray(image[top : top + crop_size[0], left : left + crop_size[1]])
