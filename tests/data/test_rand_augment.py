"""RandAugment's operations against torchvision's and Pillow's, and its draws."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from benchmarks import plain_classification
from lemore.data.augment import rand_augment
from lemore.data.augment.classification import ClassificationTransform
from lemore.data.augment.rand_augment import OPERATIONS, DrawnOperation, draw
from lemore.data.photo import PIXELS, Photo

WARPS = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


def smooth(seed: int) -> np.ndarray:
    """A picture with edges and gradients, 120 x 160."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(blocks, (160, 120), interpolation=cv2.INTER_CUBIC)
    image[30:60, 40:100] = rng.integers(0, 256, 3)
    return image // 2 + 40 if seed % 2 else image


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())


def gap(ours: np.ndarray, theirs: torch.Tensor) -> np.ndarray:
    return np.abs(ours.astype(int) - theirs.permute(1, 2, 0).numpy())


# Of magnitude 9 in 0..10: the arguments that timm's "rand-m9" gives (bits 3, threshold 230, ...).
TORCHVISION = {
    "auto_contrast": F.autocontrast,
    "equalize": F.equalize,
    "invert": F.invert,
    "posterize": lambda image: F.posterize(image, 3),
    "solarize": lambda image: F.solarize(image, 230),
    "color": lambda image: F.adjust_saturation(image, 1.72),
    "contrast": lambda image: F.adjust_contrast(image, 1.72),
    "brightness": lambda image: F.adjust_brightness(image, 1.72),
    "sharpness": lambda image: F.adjust_sharpness(image, 1.72),
}


@pytest.mark.parametrize("name", TORCHVISION)
@pytest.mark.parametrize("seed", range(4))
def test_values_are_torchvisions(name, seed):
    image = smooth(seed)
    ours = getattr(rand_augment, name)(image, 0.9, 1)
    assert gap(ours, TORCHVISION[name](tensor(image))).max() <= 1
    assert ours.shape == image.shape and ours.dtype == np.uint8


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize(("strength", "sign"), [(0.25, 1), (0.9, 1), (0.9, -1), (1.0, 1)])
def test_every_operation_is_pillows(operation, strength, sign):
    """As timm calls it. The rim of a warp may differ: one blends with the fill, the other not."""
    image = smooth(0)
    drawn = DrawnOperation(OPERATIONS.index(operation), strength, sign)
    theirs = np.asarray(plain_classification.apply(Image.fromarray(image), drawn)).astype(int)
    differs = np.abs(operation(image, strength, sign) - theirs) > 2
    assert differs.mean() < (0.02 if operation.__name__ in WARPS else 1e-9)


def test_uniform_images_survive_every_operation():
    for value in (0, 77, 255):
        image = np.full((16, 16, 3), value, np.uint8)
        for operation in OPERATIONS:
            assert operation(image, 0.9, 1).shape == image.shape


def test_draws():
    """Two of fifteen, each with probability 1/2, magnitude N(9, 0.5) cut at 10, either sign."""
    drawn = [one for seed in range(3000) for one in draw(9.0, 0.5, np.random.default_rng(seed))]
    index, strength, sign = map(np.array, zip(*drawn, strict=True))
    assert len(drawn) == pytest.approx(3000, rel=0.05)
    assert np.bincount(index, minlength=15) == pytest.approx(200, rel=0.3)
    assert strength.max() == 1.0 and (strength == 1.0).mean() == pytest.approx(0.023, abs=0.01)
    assert strength.mean() == pytest.approx(0.9, abs=0.01)
    assert strength.std() == pytest.approx(0.05, abs=0.005)
    assert set(sign) == {1, -1} and abs(sign.mean()) < 0.1


@pytest.mark.parametrize("seed", range(30))
def test_the_whole_transform_is_pillows(seed):
    image = smooth(seed)
    settings = ClassificationTransform((80, 96), (0.2, 1), (3 / 4, 4 / 3), 0.5, (9.0, 0.5), 0.5)
    photo = Photo(image, PIXELS, image.shape[:2])
    ours = settings(photo, 0, np.random.default_rng(seed)).image
    whole = Image.fromarray(image)
    plain = plain_classification.transform(whole, settings, np.random.default_rng(seed))
    assert (np.abs(ours.astype(int) - plain) > 6).mean() < 0.03
