"""The classification transform by Pillow, one step after the other, as in timm.

`lemore.data.augment.classification` is compared with this, given the same draws, and its speed is
measured against it. It is slow on purpose and no training uses it.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from lemore.data.augment import rand_augment
from lemore.data.augment.classification import ClassificationTransform, erase
from lemore.data.augment.rand_augment import (
    FILL,
    MAX_DEGREES,
    MAX_SHEAR,
    MAX_SHIFT,
    DrawnOperation,
)

BILINEAR = Image.Resampling.BILINEAR


def transform(
    image: Image.Image, settings: ClassificationTransform, rng: np.random.Generator
) -> np.ndarray:
    """Returns (H, W, 3) uint8 of `settings.crop_size`; draws like `ClassificationTransform`."""
    top, left, height, width = settings.draw_part((image.height, image.width), rng)
    box, size = (left, top, left + width, top + height), settings.crop_size
    image = image.resize((size[1], size[0]), BILINEAR, box)
    if rng.random() < settings.flip_probability:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if settings.rand_augment is not None:
        for drawn in rand_augment.draw(*settings.rand_augment, rng):
            image = apply(image, drawn)
    pixels = np.array(image)
    if rng.random() < settings.random_erasing:
        erase(pixels, rng)
    return pixels


def apply(image: Image.Image, drawn: DrawnOperation) -> Image.Image:
    """Applies one operation of RandAugment."""
    strength, signed = drawn.strength, drawn.strength * drawn.sign
    factor, width, height = 0.1 + 1.8 * strength, image.width, image.height
    operations: dict[str, Callable[[], Image.Image]] = {
        "auto_contrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "invert": lambda: ImageOps.invert(image),
        "rotate": lambda: image.rotate(signed * MAX_DEGREES, BILINEAR, fillcolor=FILL),
        "posterize": lambda: ImageOps.posterize(image, int(strength * 4)),
        "solarize": lambda: ImageOps.solarize(image, int(strength * 256)),
        "solarize_add": lambda: _solarize_add(image, int(strength * 110)),
        "color": lambda: ImageEnhance.Color(image).enhance(factor),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(factor),
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
        "shear_x": lambda: _warp(image, (1, signed * MAX_SHEAR, 0, 0, 1, 0)),
        "shear_y": lambda: _warp(image, (1, 0, 0, signed * MAX_SHEAR, 1, 0)),
        "translate_x": lambda: _warp(image, (1, 0, signed * MAX_SHIFT * width, 0, 1, 0)),
        "translate_y": lambda: _warp(image, (1, 0, 0, 0, 1, signed * MAX_SHIFT * height)),
    }
    return operations[rand_augment.OPERATIONS[drawn.index].__name__]()


def _solarize_add(image: Image.Image, added: int) -> Image.Image:
    return image.point([min(v + added, 255) if v < 128 else v for v in range(256)] * 3)


def _warp(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, BILINEAR, fillcolor=FILL)
