"""Losses of segmentation and classification."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE_INDEX = 255
FEW_CLASSES = 16


def segmentation_loss(
    logits: Tensor,
    label: Tensor,
    average: Literal["all_pixels", "valid_pixels"],
    class_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of logits at native stride against labels at image size.

    logits: B K h w float. label: B H W, train ids, 255 ignored. The logits are resized to the
    label's size (bilinear, align_corners=False). "all_pixels" divides by every pixel, the ignored
    ones included, as the mmcv 0.x lineage does (protocol trap 2); "valid_pixels" by the others
    only, and is 0 where there are none. class_weight: K float, factors of the pixels' losses; the
    divisor counts pixels all the same, as mmseg's does. Returns a scalar.
    """
    parts = (_image_loss(logits[i : i + 1], label[i], class_weight) for i in range(len(logits)))
    total = sum(parts)
    assert isinstance(total, Tensor)
    if average == "all_pixels":
        return total / label.numel()
    return total / (label != IGNORE_INDEX).sum().clamp(min=1)


def _image_loss(logits: Tensor, label: Tensor, class_weight: Tensor | None) -> Tensor:
    """Summed cross-entropy of one image (logits 1 K h w, label H W).

    Image by image, since the whole batch at label size leaves every cache of a CPU: up to six
    times faster at 150 classes. With the classes last softmax is vectorised along them, which
    pays unless they are few.
    """
    if logits.shape[1] < FEW_CLASSES:
        logits = logits.contiguous()
    full = F.interpolate(logits, size=label.shape, mode="bilinear", align_corners=False)
    target = label[None].long()
    if logits.shape[1] >= FEW_CLASSES:
        full, target = full.permute(0, 2, 3, 1).flatten(0, 2), target.flatten()  # H*W K
    return F.cross_entropy(
        full, target, weight=class_weight, ignore_index=IGNORE_INDEX, reduction="sum"
    )


def class_weight(frequencies: Sequence[float]) -> Tensor:
    """K weights 1 / ln(1.02 + p) for classes with the share p of the labelled pixels, float32.

    Paszke et al., "ENet", 2016, section 5.2: rare classes count more, at most some 50 times. Scaled
    so that the weights' mean over the pixels is 1 and the learning rate keeps its meaning.
    """
    share = torch.tensor(frequencies, dtype=torch.float64)
    weight = 1 / torch.log(1.02 + share)
    return (weight / (weight * share).sum()).float()


def classification_loss(
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


def accuracy(logits: Tensor, label: Tensor, k: int) -> Tensor:
    """Count (int64 scalar) of samples whose label is among the `k` largest logits."""
    k = min(k, logits.shape[1])
    return torch.eq(logits.topk(k, dim=1).indices, label[:, None]).any(1).sum()
