"""The distortion on the training device is the CPU's, but for rounding, with the same draws."""

import itertools

import numpy as np
import pytest
import torch

from lemore.data.augment import photometric
from lemore.data.augment.photometric import Distortion
from lemore.data.augment.photometric_batch import distort
from lemore.data.augment.segmentation import TrainTransform
from lemore.data.loader import TrainBatches
from lemore.data.store import Store

CHANNEL = np.array([0, 1, 2, 7, 20, 50, 51, 90, 127, 128, 129, 180, 200, 222, 250, 254, 255])
COLOURS = np.stack(np.meshgrid(CHANNEL, CHANNEL, CHANNEL), -1).reshape(17, 289, 3).astype(np.uint8)


def on_device(image: np.ndarray, drawn: Distortion) -> np.ndarray:
    batch = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    return distort(batch, torch.tensor([drawn.list_values()]))[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    "image", [COLOURS, np.random.default_rng(3).integers(0, 256, (300, 300, 3), np.uint8)]
)
def test_equal_to_the_cpu(image):
    options = itertools.product(
        (None, -31.7, 20.3), (None, 0.53, 1.47), (True, False), (None, 0.6, 1.4), (None, -18, 17)
    )
    for values in options:
        drawn = Distortion(*values)
        gap = np.abs(on_device(image, drawn) - photometric.distort(image, drawn).astype(int))
        assert gap.max() <= 6 and (gap > 0).mean() < 0.04
        if drawn.saturation is None and drawn.hue is None:
            assert gap.max() == 0


def test_where_it_is_done_changes_no_draw_and_no_pixel(tiny):
    made = []
    for where in ("cpu", "device"):
        transform = TrainTransform((112, 80), (0.5, 2.0), (96, 96), 0.75, 0.5, where)
        store = Store(tiny.data, "train")
        batches = TrainBatches(store, transform, seed=2, batch_size=6, start=0, stop=3)
        made.append(list(batches))
    for cpu, device in zip(*made, strict=True):
        assert "distortion" not in cpu and device["distortion"].shape == (6, 5)
        assert torch.equal(cpu["label"], device["label"])
        images = distort(device["image"], device["distortion"])
        for image, expected, (h, w) in zip(images, cpu["image"], cpu["valid"], strict=True):
            gap = (image[:, :h, :w].int() - expected[:, :h, :w].int()).abs()
            assert int(gap.max()) <= 6 and float((gap > 0).float().mean()) < 0.12
