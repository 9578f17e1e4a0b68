"""Makes label maps at the image's original size from the logits of windows.

Two presets: `two_step` resizes the logits to the network's input size and then to the original
size, as mmsegmentation does (the reference); `one_step` goes straight to the original size. Both
are bilinear with align_corners=False. Where `cells` does not pay, classes are interpolated a chunk
at a time with a running maximum, so that memory does not grow with their number.
"""

from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lemore.config.size import Size
from lemore.evaluation.cells import label_by_cells

CHUNK_VALUES = 1 << 22  # floats held at a time for a chunk of classes: 16 MB, about a cache


class Window(NamedTuple):
    """Part of the network's input that went through the model in one piece, with its logits."""

    top: int
    left: int
    size: Size
    logits: Tensor  # 1 K h w at native stride


class Pass(NamedTuple):
    """One pass of the model over an image, in one or more windows.

    via: the network's input size, where windows meet and the first of two steps ends; None for a
    single window that is resized in one step.
    """

    windows: list[Window]
    via: Size | None


@torch.inference_mode()
def label_passes(passes: list[Pass], original_size: Size) -> np.ndarray:
    """Labels pixels, uint8 (H, W), by the logits of one pass or the mean softmax of several."""
    if len(passes) > 1:
        return label_by_softmax(passes, original_size, None).cpu().numpy()
    (only,) = passes
    if len(only.windows) == 1:
        labels = label_by_cells(only.windows[0].logits[0], only.via, original_size)
        if labels is not None:
            return labels
    return label_by_classes(only, original_size, None).cpu().numpy()


def label_by_classes(only: Pass, original_size: Size, chunk: int | None) -> Tensor:
    """Interpolates every class and returns the argmax per pixel, uint8 (H, W), ties included.

    chunk: classes at a time; None chooses it by `CHUNK_VALUES`.
    """
    best = BestClass(original_size, only.windows[0].logits.device)
    for classes in _split_classes([only], original_size, chunk):
        # Class by class while it is in the cache: argmax over the class axis is slower.
        for i, values in enumerate(_resize_classes(only, classes, original_size), classes.start):
            best.update(i, values)
    return best.labels


def label_by_softmax(passes: list[Pass], original_size: Size, chunk: int | None) -> Tensor:
    """Finds each pixel's class of largest mean probability, uint8 (H, W), as mmseg's aug_test.

    The denominators come first, then the probabilities by chunks of classes: those of all classes
    would take gigabytes at high resolution.
    """
    chunks = _split_classes(passes, original_size, chunk)
    denominators = []  # logarithms, H W each
    for one in passes:
        parts = (_resize_classes(one, classes, original_size).logsumexp(0) for classes in chunks)
        denominators.append(reduce(torch.logaddexp, parts))
    best = BestClass(original_size, passes[0].windows[0].logits.device)
    for classes in chunks:
        total = torch.zeros((), device=best.labels.device)
        for one, denominator in zip(passes, denominators, strict=True):
            logits = _resize_classes(one, classes, original_size)
            total = total + (logits - denominator).exp_()
        for i, values in enumerate(total, classes.start):
            best.update(i, values)
    return best.labels


def resize(values: Tensor, size: Size) -> Tensor:
    """Resizes B C h w bilinearly to `size` (H, W), align_corners=False."""
    if (values.shape[2], values.shape[3]) == tuple(size):
        return values
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)


class BestClass:
    """Running maximum over classes: `labels` uint8 H W, the first of equal classes."""

    def __init__(self, size: Size, device: torch.device):
        self.labels = torch.zeros(size, dtype=torch.uint8, device=device)
        self.values = torch.full(size, -torch.inf, device=device)

    def update(self, train_id: int, values: Tensor) -> None:
        """Takes one class's values H W into account."""
        self.labels.masked_fill_(values > self.values, train_id)
        torch.maximum(self.values, values, out=self.values)


def _split_classes(passes: list[Pass], size: Size, chunk: int | None) -> list[slice]:
    largest = max(one.via[0] * one.via[1] if one.via else 0 for one in passes)
    chunk = chunk or max(CHUNK_VALUES // (size[0] * size[1] + largest), 1)
    classes = passes[0].windows[0].logits.shape[1]
    return [slice(start, start + chunk) for start in range(0, classes, chunk)]


def _resize_classes(one: Pass, classes: slice, size: Size) -> Tensor:
    """Resizes the logits of some classes to the original size, C H W."""
    logits = [window.logits[:, classes].contiguous() for window in one.windows]
    if one.via is None:
        return resize(logits[0], size)[0]
    parts = [resize(values, w.size) for values, w in zip(logits, one.windows, strict=True)]
    if len(parts) == 1:
        return resize(parts[0], size)[0]
    total = parts[0].new_zeros((1, parts[0].shape[1], *one.via))  # windows that overlap: mean
    count = total.new_zeros((1, 1, *one.via))
    for window, part in zip(one.windows, parts, strict=True):
        rows = slice(window.top, window.top + window.size[0])
        columns = slice(window.left, window.left + window.size[1])
        total[:, :, rows, columns] += part
        count[:, :, rows, columns] += 1
    return resize(total / count, size)[0]
