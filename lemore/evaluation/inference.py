"""From normalised images to the label map at the image's original size.

Three test geometries: `whole`, the image as it is; `square`, resized to the training size first;
`slide`, windows of the training size, whose logits are averaged where they overlap
(mmsegmentation's slide_inference). Further sizes of the image, and its mirror images, are views
whose softmax is averaged (test-time augmentation). How logits become labels, `upsample` says.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch

from lemore.evaluation.upsample import Size, View, Window, label_views, resize

Preset = Literal["two_step", "one_step"]
Mode = Literal["whole", "square", "slide"]
Model = Callable[[torch.Tensor], torch.Tensor]
Box = tuple[int, int, int, int]  # top, left, height, width

# Pixels of the windows that go through the model in one batch. On a CPU, more than its cache holds
# makes each window slower: 1.4 times at six of 320x320, where sixteen of 128x128 gain threefold.
CPU_BATCH_PIXELS = 1 << 17
GPU_BATCH_PIXELS = 1 << 21


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

    As `make_views` of this image alone and then `label_views`.
    """
    views = make_views(
        model, [image], flip=False, preset=preset, mode=mode, crop_size=crop_size, stride=stride
    )
    return label_views(views, original_size)


@torch.inference_mode()
def make_views(
    model: Model,
    images: Sequence[torch.Tensor],
    *,
    flip: bool,
    preset: Preset,
    mode: Mode,
    crop_size: Size | None,
    stride: Size | None,
) -> list[View]:
    """The logits of one normalised image in one or more sizes, each 1 3 h w.

    model: images to logits at any stride; it should be in evaluation mode. flip: each size once
    more, mirrored. crop_size (`square`, `slide`) and stride (`slide`) are (H, W) and may be None
    where the mode does not read them. ValueError for settings that do not go together.
    """
    _check(preset, mode, crop_size, stride)
    views = []
    for image in images:
        assert image.ndim == 4 and image.shape[0] == 1, tuple(image.shape)
        if mode == "square":
            image = resize(image, _given(crop_size))
        size = (image.shape[2], image.shape[3])
        boxes: list[Box] = [(0, 0, *size)]
        if mode == "slide":
            boxes = slide_boxes(size, _given(crop_size), _given(stride))
        via = size if preset == "two_step" else None
        views.append(View(list(_forward(model, image, boxes)), via))
        if flip:
            mirrored = _forward(model, image.flip(3), boxes)
            views.append(View([_mirror(window, size[1]) for window in mirrored], via))
    return views


def slide_boxes(size: Size, crop_size: Size, stride: Size) -> list[Box]:
    """Sliding windows, all of one size; the last ones are moved back to the edge.

    ValueError where a stride leaves gaps or makes no progress.
    """
    if not all(0 < step <= side for step, side in zip(stride, crop_size, strict=True)):
        raise ValueError(
            f"stride is {stride}, expected at least 1 and at most crop_size {crop_size}"
        )
    tops, lefts = (_starts(size[axis], crop_size[axis], stride[axis]) for axis in (0, 1))
    height, width = (min(size[axis], crop_size[axis]) for axis in (0, 1))
    return [(top, left, height, width) for top in tops for left in lefts]


def _forward(model: Model, image: torch.Tensor, boxes: list[Box]) -> Iterator[Window]:
    """Windows of one size through the model, in batches."""
    height, width = boxes[0][2:]
    pixels = CPU_BATCH_PIXELS if image.device.type == "cpu" else GPU_BATCH_PIXELS
    count = max(pixels // (height * width), 1)
    for start in range(0, len(boxes), count):
        batch = boxes[start : start + count]
        parts = [image[:, :, top : top + height, x : x + width] for top, x, _, _ in batch]
        logits = model(torch.cat(parts) if len(parts) > 1 else parts[0]).float()  # B K h w
        if logits.shape[1] > 255:
            raise ValueError(f"the model has {logits.shape[1]} classes, label maps hold up to 255")
        for i, (top, left, _, _) in enumerate(batch):
            yield Window(top, left, (height, width), logits[i : i + 1])


def _mirror(window: Window, width: int) -> Window:
    """A window of the mirrored image, `width` wide, as one of the image itself."""
    left = width - window.left - window.size[1]
    return Window(window.top, left, window.size, window.logits.flip(3))


def _starts(length: int, crop: int, stride: int) -> list[int]:
    steps = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(step * stride, length - crop), 0) for step in range(steps)]


def _check(preset: str, mode: str, crop_size: Size | None, stride: Size | None) -> None:
    if preset not in ("two_step", "one_step"):
        raise ValueError(f"preset is '{preset}', expected two_step or one_step")
    if mode not in ("whole", "square", "slide"):
        raise ValueError(f"mode is '{mode}', expected whole, square or slide")
    if mode == "slide" and preset == "one_step":
        raise ValueError("mode slide needs preset two_step: windows meet at the network's size")
    if (mode != "whole" and crop_size is None) or (mode == "slide" and stride is None):
        raise ValueError(f"mode {mode} needs crop_size{' and stride' if mode == 'slide' else ''}")


def _given(size: Size | None) -> Size:
    assert size is not None
    return size
