"""From the logits of windows to the label map at the image's original size.

Presets: `two_step` resizes the logits to the network's input size and then to the original size, as
mmsegmentation does (the reference); `one_step` goes straight to the original size. Both bilinear,
align_corners=False. What `cells` does not serve goes class by class, in chunks with a running
maximum, so that memory does not grow with the number of classes.
"""

from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from lemore.evaluation import cells

Size = tuple[int, int]

CHUNK_VALUES = 1 << 22  # floats held at a time for a chunk of classes: 16 MB, about a cache


class Window(NamedTuple):
    """Part of the network's input that went through the model in one piece, with its logits."""

    top: int
    left: int
    size: Size
    logits: torch.Tensor  # 1 K h w at native stride


class View(NamedTuple):
    """One pass of the model over an image: the windows, and the network's input size.

    via: where windows meet, and the size between the two steps; None for one step.
    """

    windows: list[Window]
    via: Size | None


@torch.inference_mode()
def label_views(views: list[View], original_size: Size) -> np.ndarray:
    """Best class per pixel, uint8 (H, W): by the logits of one view, by mean softmax of several."""
    if len(views) > 1:
        return by_mean_softmax(views, original_size, None).cpu().numpy()
    (view,) = views
    if len(view.windows) == 1:
        labels = cells.label_map(view.windows[0].logits[0], view.via, original_size)
        if labels is not None:
            return labels
    return by_classes(view, original_size, None).cpu().numpy()


def by_classes(view: View, original_size: Size, chunk: int | None) -> torch.Tensor:
    """Best class per pixel, uint8 (H, W), every class interpolated as it would be in one piece.

    chunk: classes at a time; None chooses it by `CHUNK_VALUES`. The first of equal classes wins, as
    in argmax.
    """
    labels, best = _nothing(view, original_size)
    for classes in _chunks([view], original_size, chunk):
        _keep_best(labels, best, classes.start, _logits(view, classes, original_size))
    return labels


def by_mean_softmax(views: list[View], original_size: Size, chunk: int | None) -> torch.Tensor:
    """Class of the largest mean probability per pixel, uint8 (H, W) (mmsegmentation's aug_test).

    The denominators first, then the probabilities by chunks of classes: those of all classes would
    take gigabytes at high resolution.
    """
    chunks = _chunks(views, original_size, chunk)
    denominators = [_log_sum_exp(view, chunks, original_size) for view in views]
    labels, best = _nothing(views[0], original_size)
    for classes in chunks:
        total = torch.zeros((), device=best.device)
        for view, denominator in zip(views, denominators, strict=True):
            total = total + (_logits(view, classes, original_size) - denominator).exp_()
        _keep_best(labels, best, classes.start, total)
    return labels


def resize(values: torch.Tensor, size: Size) -> torch.Tensor:
    """Bilinear resize of B C h w to `size` (H, W), align_corners=False."""
    if (values.shape[2], values.shape[3]) == tuple(size):
        return values
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)


def _nothing(view: View, size: Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and best values before the first class."""
    device = view.windows[0].logits.device
    labels = torch.zeros(size, dtype=torch.uint8, device=device)
    return labels, torch.full(size, -torch.inf, device=device)


def _keep_best(labels: torch.Tensor, best: torch.Tensor, start: int, values: torch.Tensor) -> None:
    """Puts in place what is better in `values` C H W, the classes from `start` on."""
    # Class by class while it is in the cache: argmax over the class axis is slower.
    for train_id, plane in enumerate(values, start):
        labels.masked_fill_(plane > best, train_id)
        torch.maximum(best, plane, out=best)


def _log_sum_exp(view: View, chunks: list[slice], size: Size) -> torch.Tensor:
    """Logarithm of the softmax's denominator, H W."""
    parts = (_logits(view, classes, size).logsumexp(0) for classes in chunks)
    return reduce(torch.logaddexp, parts)


def _chunks(views: list[View], size: Size, chunk: int | None) -> list[slice]:
    """The classes, a chunk at a time."""
    largest = max(via[0] * via[1] if (via := view.via) else 0 for view in views)
    chunk = chunk or max(CHUNK_VALUES // (size[0] * size[1] + largest), 1)
    classes = views[0].windows[0].logits.shape[1]
    return [slice(start, start + chunk) for start in range(0, classes, chunk)]


def _logits(view: View, classes: slice, size: Size) -> torch.Tensor:
    """Logits of some classes at the original size, C H W."""
    if view.via:
        return resize(_merge(view.windows, classes, view.via), size)[0]
    return resize(view.windows[0].logits[:, classes].contiguous(), size)[0]


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
