"""Losses of segmentation and classification."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lemore.config.labels import IGNORE

FEW_CLASSES = 16
BAND_VALUES = 2**21  # logits at label size in one band, 8 MB: they stay in a CPU's cache
PART_VALUES = 2**27  # and on another device in one part of the batch, 512 MB
PARTS = 4  # into which a batch is at least divided there, so that memory holds a part alone


def compute_segmentation_loss(
    logits: Tensor,
    label: Tensor,
    average: Literal["all_pixels", "valid_pixels"],
    class_weight: Tensor | None = None,
    fused: bool = False,
) -> Tensor:
    """Cross-entropy of logits at native stride against labels at image size.

    logits: B K h w float. label: B H W, train ids, 255 ignored. The logits are resized to the
    label's size (bilinear, align_corners=False). "all_pixels" divides by every pixel, the ignored
    ones included, as the mmcv 0.x lineage does; "valid_pixels" by the others only, and is 0 where
    there are none. class_weight: K float, factors of the pixels' losses; the divisor still counts
    pixels, as mmseg's does. fused: equal but for rounding, about four times faster on a CPU
    (`FusedLoss`), for labels whose height is a multiple of h there; other devices always compute
    so. Returns a scalar.
    """
    on_cpu = logits.device.type == "cpu"
    if not on_cpu or (fused and label.shape[1] % logits.shape[2] == 0):
        total = FusedLoss.apply(logits, label, class_weight)
    else:
        images = zip(logits.split(1), label, strict=True)
        total = sum(_sum_image_loss(one, its, class_weight) for one, its in images)
    assert isinstance(total, Tensor)
    if average == "all_pixels":
        return total / label.numel()
    return total / (label != IGNORE).sum().clamp(min=1)


def _sum_image_loss(logits: Tensor, label: Tensor, class_weight: Tensor | None) -> Tensor:
    """Returns the summed cross-entropy of one image (logits 1 K h w, label H W).

    Single images fit a CPU's cache, the whole batch at label size does not: up to six times faster
    at 150 classes. With the classes last, softmax is vectorised along them, which pays unless they
    are few.
    """
    if logits.shape[1] < FEW_CLASSES:
        logits = logits.contiguous()
    full = F.interpolate(logits, size=label.shape, mode="bilinear", align_corners=False)
    target = label[None].long()
    if logits.shape[1] >= FEW_CLASSES:
        full, target = full.permute(0, 2, 3, 1).flatten(0, 2), target.flatten()  # H*W K
    return F.cross_entropy(full, target, weight=class_weight, ignore_index=IGNORE, reduction="sum")


class FusedLoss(torch.autograd.Function):
    """Summed cross-entropy and its gradient in one pass, part by part.

    The logits at label size, 600 MB for four crops of 150 classes, never exist as a whole: a part
    of them is resized, turned into its gradient and brought back to native stride. The parts are
    bands of rows that fit a CPU's cache; elsewhere images, as many as keep the launches few.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, label: Tensor, class_weight: Tensor | None) -> Tensor:
        logits = logits.detach().contiguous(memory_format=torch.channels_last)
        factors = logits.new_ones(logits.shape[1]) if class_weight is None else class_weight
        sum_parts = sum_over_bands if logits.device.type == "cpu" else sum_over_images
        total, gradient = sum_parts(logits, label, factors)
        ctx.save_for_backward(gradient)
        return total.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0], None, None


def sum_over_images(logits: Tensor, label: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Summed loss (float64) and its gradient (B K h w), some images at a time."""
    images, size = len(label), label.shape[1:]
    at_once = min(PART_VALUES // (logits.shape[1] * size.numel()), images // PARTS)
    sums, gradients = [], []
    for part, its in zip(*(x.split(max(at_once, 1)) for x in (logits, label)), strict=True):
        full = F.interpolate(part, size, mode="bilinear", align_corners=False)
        rows = full.permute(0, 2, 3, 1).flatten(0, 2).log_softmax(1)  # P K
        del full
        target, factor = _weigh(its.flatten(), factors)
        sums.append(-(factor * rows.gather(1, target)).sum(dtype=torch.float64))
        rows.exp_().mul_(factor).scatter_add_(1, target, -factor)
        slope = rows.unflatten(0, (len(part), *size)).permute(0, 3, 1, 2)
        gradients.append(_resize_back(slope, part.shape))
        del rows, slope  # before the next part is made
    return torch.stack(sums).sum(), torch.cat(gradients)


def _resize_back(gradient: Tensor, shape: Sequence[int]) -> Tensor:
    """The gradient of B K H W, made by bilinear resizing from `shape`, for what it was made of."""
    size = list(gradient.shape[2:])
    return torch.ops.aten.upsample_bilinear2d_backward(gradient, size, list(shape), False)


def sum_over_bands(logits: Tensor, label: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Summed loss (float64) and its gradient (B K h w), a band of rows of one image at a time."""
    gradient, total = torch.zeros_like(logits), logits.new_zeros((), dtype=torch.float64)
    stride = label.shape[1] // logits.shape[2]
    for source, target in _split_into_bands(logits.shape, label.shape):
        offset = target.start - source.start * stride
        for i in range(len(label)):
            part = logits[i : i + 1, :, source]
            loss, slope = _sum_band_loss(part, label[i, target], offset, stride, factors)
            total += loss
            gradient[i : i + 1, :, source] += slope
    return total, gradient


def _split_into_bands(logits: Sequence[int], label: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Rows of logits (B K h w) and the rows of labels (B H W) that lie between their centres."""
    height, stride = logits[2], label[1] // logits[2]
    step = max(1, BAND_VALUES // (logits[1] * stride * label[2]))
    for first in range(0, height, step):
        last = min(first + step, height - 1)
        begin = first * stride + stride // 2 if first else 0
        end = last * stride + stride // 2 if first + step < height else label[1]
        yield slice(first, last + 1), slice(begin, end)


def _sum_band_loss(
    logits: Tensor, label: Tensor, offset: int, stride: int, factors: Tensor
) -> tuple[Tensor, Tensor]:
    """Summed loss of a band and its gradient (1 K r w).

    logits: 1 K r w. label: r' W, the rows from `offset` on of the logits resized by `stride`.
    factors: K, the weight of a pixel of each class.
    """
    size = (logits.shape[2] * stride, label.shape[1])
    full = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    rows = full[0].permute(1, 2, 0)  # R W K
    inside = slice(offset, offset + len(label))
    loss = _compute_cross_entropy_(rows[inside].view(-1, rows.shape[2]), label.flatten(), factors)
    rows[: inside.start] = 0
    rows[inside.stop :] = 0
    return loss, _resize_back(full, logits.shape)


def _compute_cross_entropy_(logits: Tensor, label: Tensor, factors: Tensor) -> Tensor:
    """Summed loss of pixels (logits P K, label P); the logits become its gradient in place."""
    target, factor = _weigh(label, factors)
    logits.sub_(logits.amax(1, keepdim=True))
    chosen = logits.gather(1, target)
    total = logits.exp_().sum(1, keepdim=True)
    logits.mul_(factor / total).scatter_add_(1, target, -factor)
    return (factor * (total.log() - chosen)).sum(dtype=torch.float64)


def _weigh(label: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Classes of pixels (P 1 int64, 0 for ignored ones) and their factors (P 1, 0 for those)."""
    ignored = (label == IGNORE)[:, None]
    target = label.long()[:, None].masked_fill(ignored, 0)
    return target, factors[target].masked_fill_(ignored, 0.0)


def compute_class_weight(frequencies: Sequence[float]) -> Tensor:
    """Returns K float32 weights 1 / ln(1.02 + p), p being a class's share of labelled pixels.

    Paszke et al., "ENet", 2016, section 5.2: rare classes count more, at most some 50 times. Scaled
    so that the weights' mean over the pixels is 1 and the learning rate keeps its meaning.
    """
    share = torch.tensor(frequencies, dtype=torch.float64)
    weight = 1 / torch.log(1.02 + share)
    return (weight / (weight * share).sum()).float()


def compute_classification_loss(
    logits: Tensor,
    label: Tensor,
    label_smoothing: float,
    mixture: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Cross-entropy with label smoothing. logits: B K; label: B int64. Returns a scalar.

    mixture: for images that are mixtures of two, B int64, the other image's class, and B float, the
    share of `label` in each; its cross-entropy counts by its share.
    """
    if mixture is None:
        return F.cross_entropy(logits, label, label_smoothing=label_smoothing)
    other, share = mixture
    of_label, of_other = (
        F.cross_entropy(logits, target, label_smoothing=label_smoothing, reduction="none")
        for target in (label, other)
    )
    return torch.lerp(of_other, of_label, share).mean()


def count_correct(logits: Tensor, label: Tensor, k: int) -> Tensor:
    """Counts (int64 scalar) the samples whose label is among the `k` largest logits."""
    k = min(k, logits.shape[1])
    return torch.eq(logits.topk(k, dim=1).indices, label[:, None]).any(1).sum()
