"""RandAugment's operations against torchvision's and Pillow's, and what is drawn."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from lemore.data import rand_augment
from lemore.data.rand_augment import FILL, OPERATIONS

BILINEAR = {"interpolation": InterpolationMode.BILINEAR, "fill": list(FILL)}


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


def test_weak_factors_move_towards_gray_mean_black_and_smooth():
    image = smooth(2)
    for name in ("color", "contrast", "brightness", "sharpness"):
        theirs = {"color": F.adjust_saturation}.get(name) or getattr(F, f"adjust_{name}")
        ours = getattr(rand_augment, name)(image, 0.25, 1)
        assert gap(ours, theirs(tensor(image), 0.55)).max() <= 2, name  # torchvision cuts twice


def test_solarize_add_brightens_the_darker_half():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = np.stack([values] * 3, axis=2)
    expected = np.where(values < 128, values.astype(int) + 99, values)
    assert (rand_augment.solarize_add(image, 0.9, 1)[..., 0] == expected).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("seed", range(2))
def test_rotation_is_torchvisions(sign, seed):
    image = smooth(seed)
    ours = rand_augment.rotate(image, 0.9, sign)
    differs = gap(ours, F.rotate(tensor(image), 27.0 * sign, **BILINEAR)) > 2
    assert differs.mean() < 0.02  # the rim, where one blends with the fill and the other does not


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("shear_x", (1, 0.27, 0, 0, 1, 0)),
        ("shear_y", (1, 0, 0, 0.27, 1, 0)),
        ("translate_x", (1, 0, 0.405 * 160, 0, 1, 0)),
        ("translate_y", (1, 0, 0, 0, 1, 0.405 * 120)),
    ],
)
def test_warps_are_pillows(name, matrix):
    """As timm calls them."""
    image = smooth(0)
    theirs = Image.fromarray(image).transform(
        (160, 120), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=FILL
    )
    ours = getattr(rand_augment, name)(image, 0.9, 1).astype(int)
    assert (np.abs(ours - np.asarray(theirs)) > 2).mean() < 0.02
    back = getattr(rand_augment, name)(image, 0.9, -1)
    assert (back != ours).any()


def test_uniform_images_survive_every_operation():
    for value in (0, 77, 255):
        image = np.full((16, 16, 3), value, np.uint8)
        for operation in OPERATIONS:
            assert operation(image, 0.9, 1).shape == image.shape


def test_draws(monkeypatch):
    """Two of fifteen, each with probability 1/2, magnitude N(9, 0.5) cut at 10, either sign."""
    calls = []

    def spy(index):
        return lambda image, strength, sign: calls.append((index, strength, sign)) or image

    monkeypatch.setattr(rand_augment, "OPERATIONS", tuple(spy(i) for i in range(15)))
    image = np.zeros((2, 2, 3), np.uint8)
    for seed in range(3000):
        rand_augment.rand_augment(image, 9.0, 0.5, np.random.default_rng(seed))
    index, strength, sign = map(np.array, zip(*calls, strict=True))
    assert len(calls) == pytest.approx(3000, rel=0.05)
    assert np.bincount(index, minlength=15) == pytest.approx(200, rel=0.3)
    assert strength.max() == 1.0 and (strength == 1.0).mean() == pytest.approx(0.023, abs=0.01)
    assert strength.mean() == pytest.approx(0.9, abs=0.01)
    assert strength.std() == pytest.approx(0.05, abs=0.005)
    assert (sign == 1).mean() == pytest.approx(0.5, abs=0.05)
