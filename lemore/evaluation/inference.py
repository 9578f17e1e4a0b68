"""Runs a model over normalised images, in the geometry of a test.

There are three geometries: `whole`, the image as it is; `square`, resized to the training size;
`slide`, windows of the training size, whose logits are averaged where they overlap
(mmsegmentation's slide_inference). Further sizes of the image, and its mirror images, are passes
whose softmax is averaged (test-time augmentation). `upsample` makes label maps from the logits.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lemore.config.recipe import Test
from lemore.config.size import Size
from lemore.evaluation.upsample import Pass, Window, resize

Model = Callable[[Tensor], Tensor]
Box = tuple[int, int, int, int]  # top, left, height, width

# Pixels of the windows that go through the model in one batch. On a CPU, more than its cache holds
# makes each window slower: 1.4 times at six of 320x320, where sixteen of 128x128 gain threefold.
CPU_BATCH_PIXELS = 1 << 17
GPU_BATCH_PIXELS = 1 << 21


@torch.inference_mode()
def make_passes(
    model: Model, images: Sequence[Tensor], test: Test, crop_size: Size | None
) -> list[Pass]:
    """Returns the logits of one normalised image at each test size, `images` 1 3 h w.

    model: images to logits at any stride; it should be in evaluation mode. crop_size: of modes
    `square` and `slide`. ValueError if the mode needs a crop_size, if strides leave gaps, and for
    more classes than a label map holds.
    """
    if test.mode != "whole" and crop_size is None:
        raise ValueError(f"test mode {test.mode} needs crop_size")
    passes = []
    for image in images:
        assert image.ndim == 4 and image.shape[0] == 1, tuple(image.shape)
        if test.mode == "square" and crop_size is not None:
            image = resize(image, crop_size)
        size = (image.shape[2], image.shape[3])
        boxes: list[Box] = [(0, 0, *size)]
        if test.mode == "slide" and crop_size is not None:
            boxes = slide_boxes(size, crop_size, test.stride)
        via = size if test.upsample == "two_step" else None
        passes.append(Pass(list(_run_windows(model, image, boxes)), via))
        if test.flip:
            mirrored = _run_windows(model, image.flip(3), boxes)
            passes.append(Pass([_flip(window, size[1]) for window in mirrored], via))
    return passes


def slide_boxes(size: Size, crop_size: Size, stride: Size) -> list[Box]:
    """Lists sliding windows of one size; the last ones are moved back to the edge.

    ValueError where a stride leaves gaps or makes no progress.
    """
    if not all(0 < step <= side for step, side in zip(stride, crop_size, strict=True)):
        raise ValueError(
            f"stride is {stride}, expected at least 1 and at most crop_size {crop_size}"
        )
    starts = []
    for length, crop, step in zip(size, crop_size, stride, strict=True):
        number = max(length - crop + step - 1, 0) // step + 1
        starts.append([max(min(i * step, length - crop), 0) for i in range(number)])
    height, width = (min(size[axis], crop_size[axis]) for axis in (0, 1))
    return [(top, left, height, width) for top in starts[0] for left in starts[1]]


def _run_windows(model: Model, image: Tensor, boxes: list[Box]) -> Iterator[Window]:
    """Runs the model on windows of one size, in batches."""
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


def _flip(window: Window, width: int) -> Window:
    """Turns a window of the mirrored image, `width` wide, into one of the image itself."""
    left = width - window.left - window.size[1]
    return Window(window.top, left, window.size, window.logits.flip(3))
