"""Tiles against the whole image: equal where the network sees no further than a cell, without
visible edges where it sees its whole tile."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lemore.evaluation.tiles import label_tiles
from lemore.evaluation.upsample import Pass, Window, label_passes


def local(classes: int = 7, stride: int = 8):
    """A random convolution whose logits depend on their own cell alone."""
    weight = torch.randn(classes, 3, stride, stride, generator=torch.manual_seed(0))
    return lambda x: F.conv2d(x, weight, stride=stride) / 20


def with_context(x: torch.Tensor) -> torch.Tensor:
    """The same, with what the network sees elsewhere in the tile."""
    mix = torch.randn(7, 3, generator=torch.manual_seed(1))
    return local()(x) + 2 * (x.mean((2, 3)) @ mix.T)[:, :, None, None]


def picture(height: int, width: int, blob: int = 16) -> torch.Tensor:
    small = torch.randn(1, 3, height // blob, width // blob, generator=torch.manual_seed(2))
    return F.interpolate(small, size=(height, width), mode="bicubic")


def tiled(model, image: torch.Tensor, original, **geometry) -> np.ndarray:
    padded = F.pad(image, (0, 31, 0, 31), mode="replicate")

    def read(top: int, left: int, height: int, width: int) -> torch.Tensor:
        part = padded[:, :, top : top + height, left : left + width]
        assert part.shape[2:] == (height, width)
        return part

    size = (image.shape[2], image.shape[3])
    return label_tiles(model, read, size, original, **geometry)


def whole(model, image: torch.Tensor, original) -> np.ndarray:
    window = Window(0, 0, (image.shape[2], image.shape[3]), model(image))
    return label_passes([Pass([window], None)], original)


@pytest.mark.parametrize("original", [(256, 320), (300, 411), (100, 90)])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_one_tile_is_the_whole(original, stride):
    image, model = picture(256, 320), local(stride=stride)
    found = tiled(model, image, original, tile=(512, 512), overlap=(0, 0))
    expected = whole(model, image, original)
    assert found.dtype == np.uint8 and (found == expected).mean() > 0.9999
    assert len(np.unique(found)) == 7


@pytest.mark.parametrize("size", [(256, 320), (250, 333), (33, 900)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_tiles_of_a_local_network_are_the_whole(size, batch_size):
    """Wherever the tiles lie and overlap, however their weights fall."""
    image, model = picture(*size), local()
    padded = F.pad(image, (0, -size[1] % 32, 0, -size[0] % 32), mode="replicate")
    expected = whole(model, padded, (padded.shape[2], padded.shape[3]))[: size[0], : size[1]]
    for tile, overlap in (((96, 128), (32, 64)), ((64, 64), (0, 0)), ((128, 160), (96, 96))):
        found = tiled(model, image, size, tile=tile, overlap=overlap, batch_size=batch_size)
        assert (found == expected).mean() > 0.9999


def test_tiles_do_not_end_visibly():
    """Labels change no more often at the ends of tiles than elsewhere; without overlap they do."""
    image = picture(512, 768, blob=64)
    rates = {}
    for overlap in (0, 64):
        found = tiled(with_context, image, (512, 768), tile=(128, 128), overlap=(overlap, overlap))
        changes = (found[:, 1:] != found[:, :-1]).mean(axis=0)
        step = 128 - overlap
        ends = [x for start in range(step, 740, step) for x in (start - 1, start)]
        rates[overlap] = changes[ends].mean() / changes.mean()
    assert rates[0] > 3 and rates[64] < 1.3, rates


def test_tiles_must_make_progress():
    with pytest.raises(ValueError, match="makes no progress"):
        tiled(local(), picture(256, 256), (256, 256), tile=(64, 64), overlap=(60, 0))
