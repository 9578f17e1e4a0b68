"""From a normalised image to the label map at the image's original size.

Presets: `two_step` resizes the logits to the network's input size and then to the original size, as
mmsegmentation does (the reference); `one_step` goes straight to the original size. Both bilinear,
align_corners=False. Classes are processed in chunks with a running maximum, so that memory does not
grow with their number; every class is computed as it would be in one piece.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

Preset = Literal["two_step", "one_step"]
Mode = Literal["whole", "square", "slide"]
Model = Callable[[torch.Tensor], torch.Tensor]
Size = tuple[int, int]

CHUNK_VALUES = 1 << 22  # floats held at a time for a chunk of classes: 16 MB, about a cache


class Window(NamedTuple):
    """Part of the network's input that went through the model in one piece, with its logits."""

    top: int
    left: int
    size: Size
    logits: torch.Tensor  # 1 K h w at native stride


@torch.inference_mode()
def label_map(
    model: Model,
    image: torch.Tensor,
    original_size: Size,
    *,
    preset: Preset,
    mode: Mode,
    crop_size: Size | None,
    stride: Size | None,
) -> np.ndarray:
    """Train ids, uint8 (H, W) of `original_size`, for one normalised image 1 3 h w.

    model: image to logits at any stride; it should be in evaluation mode. mode: `whole` image;
    `square`, resized to crop_size first; `slide`, windows of crop_size every `stride`, logits
    averaged where they overlap (mmsegmentation's slide_inference). crop_size and stride are (H, W)
    and may be None where the mode does not read them.
    """
    _check(image, preset, mode, crop_size, stride)
    if mode == "square":
        image = resize(image, _given(crop_size))
    boxes = [(0, 0, image.shape[2], image.shape[3])]
    if mode == "slide":
        boxes = slide_boxes(_hw(image), _given(crop_size), _given(stride))
    windows = [_forward(model, image, box) for box in boxes]
    via = _hw(image) if preset == "two_step" else None
    return label_windows(windows, via, original_size, None).cpu().numpy()


def slide_boxes(size: Size, crop_size: Size, stride: Size) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of sliding windows; the last ones are moved back to the edge."""
    tops, lefts = (_starts(size[axis], crop_size[axis], stride[axis]) for axis in (0, 1))
    height, width = (min(size[axis], crop_size[axis]) for axis in (0, 1))
    return [(top, left, height, width) for top in tops for left in lefts]


def label_windows(
    windows: list[Window], via: Size | None, original_size: Size, chunk: int | None
) -> torch.Tensor:
    """Best class per pixel, uint8 (H, W), from the windows' logits.

    via: the network's input size for two steps, None for one. chunk: classes at a time; None
    chooses it by `CHUNK_VALUES`. The first of equal classes wins, as in argmax.
    """
    chunk = chunk or _chunk_size(via, original_size)
    device = windows[0].logits.device
    best = torch.full(original_size, -torch.inf, device=device)
    labels = torch.zeros(original_size, dtype=torch.uint8, device=device)
    for start in range(0, windows[0].logits.shape[1], chunk):
        logits = _logits(windows, slice(start, start + chunk), via, original_size)
        # Class by class while it is in the cache: argmax over the class axis is slower.
        for train_id, values in enumerate(logits[0], start):
            labels.masked_fill_(values > best, train_id)
            torch.maximum(best, values, out=best)
    return labels


def resize(values: torch.Tensor, size: Size) -> torch.Tensor:
    """Bilinear resize of B C h w to `size` (H, W), align_corners=False."""
    if _hw(values) == tuple(size):
        return values
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)


def _logits(
    windows: list[Window], classes: slice, via: Size | None, original_size: Size
) -> torch.Tensor:
    """Logits of some classes at the original size, 1 C H W."""
    logits = _merge(windows, classes, via) if via else windows[0].logits[:, classes].contiguous()
    return resize(logits, original_size)


def _merge(windows: list[Window], classes: slice, size: Size) -> torch.Tensor:
    """Logits of some classes at the network's input size: the mean of the windows that overlap."""
    parts = [resize(w.logits[:, classes].contiguous(), w.size) for w in windows]
    if len(windows) == 1:
        return parts[0]
    total = parts[0].new_zeros((1, parts[0].shape[1], *size))
    count = total.new_zeros((1, 1, *size))
    for window, part in zip(windows, parts, strict=True):
        rows = slice(window.top, window.top + window.size[0])
        columns = slice(window.left, window.left + window.size[1])
        total[:, :, rows, columns] += part
        count[:, :, rows, columns] += 1
    return total / count


def _forward(model: Model, image: torch.Tensor, box: tuple[int, int, int, int]) -> Window:
    top, left, height, width = box
    logits = model(image[:, :, top : top + height, left : left + width])  # 1 K h w
    if logits.shape[1] > 255:
        raise ValueError(f"the model has {logits.shape[1]} classes, label maps hold up to 255")
    return Window(top, left, (height, width), logits.float())


def _starts(length: int, crop: int, stride: int) -> list[int]:
    steps = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(step * stride, length - crop), 0) for step in range(steps)]


def _chunk_size(via: Size | None, original_size: Size) -> int:
    pixels = original_size[0] * original_size[1] + (via[0] * via[1] if via else 0)
    return max(CHUNK_VALUES // pixels, 1)


def _check(
    image: torch.Tensor, preset: str, mode: str, crop_size: Size | None, stride: Size | None
) -> None:
    if preset not in ("two_step", "one_step"):
        raise ValueError(f"preset is '{preset}', expected two_step or one_step")
    if mode not in ("whole", "square", "slide"):
        raise ValueError(f"mode is '{mode}', expected whole, square or slide")
    if mode == "slide" and preset == "one_step":
        raise ValueError("mode slide needs preset two_step: windows meet at the network's size")
    if (mode != "whole" and crop_size is None) or (mode == "slide" and stride is None):
        raise ValueError(f"mode {mode} needs crop_size{' and stride' if mode == 'slide' else ''}")
    assert image.ndim == 4 and image.shape[0] == 1, tuple(image.shape)


def _given(size: Size | None) -> Size:
    assert size is not None
    return size


def _hw(values: torch.Tensor) -> Size:
    return values.shape[2], values.shape[3]
