"""Losses beside cross-entropy, for classes that are rare, small or hard.

Each takes logits at label size, float B K H W, and labels B H W of train ids, of which 255 is
ignored, and returns a scalar. None makes the host wait for the device.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lemore.config.labels import IGNORE
from lemore.config.losses import Losses

Average = Literal["all_pixels", "valid_pixels"]
SMOOTHING = 1.0  # pixels added to both sides of Dice's fraction
LEAST = 1e-6  # of 1 - p in a power, whose slope would be infinite at 0


def compute_weighted_sum(
    losses: Losses,
    logits: Tensor,
    label: Tensor,
    cross_entropy: Callable[[Tensor, Tensor], Tensor],
    average: Average,
    class_weight: Tensor | None,
) -> Tensor:
    """Returns the weighted sum of the losses that a recipe names.

    logits: B K h w at native stride, resized to the label's size (bilinear, align_corners False).
    cross_entropy(logits, label): the loss of that name. class_weight: K float, or None.
    """
    terms = []
    if losses.cross_entropy:
        terms.append(losses.cross_entropy.weight * cross_entropy(logits, label))
    if losses.needs_full_size:
        logits, size = logits.float(), label.shape[1:]
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    if focal := losses.focal:
        loss = compute_focal_loss(logits, label, focal.gamma, average, class_weight)
        terms.append(focal.weight * loss)
    if ohem := losses.ohem:
        loss = compute_ohem_loss(logits, label, ohem.threshold, ohem.min_share, class_weight)
        terms.append(ohem.weight * loss)
    if losses.dice:
        terms.append(losses.dice.weight * compute_dice_loss(logits, label))
    if losses.lovasz:
        terms.append(losses.lovasz.weight * compute_lovasz_loss(logits, label))
    return torch.stack(terms).sum() if len(terms) > 1 else terms[0]


def compute_focal_loss(
    logits: Tensor,
    label: Tensor,
    gamma: float,
    average: Average = "valid_pixels",
    class_weight: Tensor | None = None,
) -> Tensor:
    """Mean of -w (1 - p)^gamma log p, p being the probability of a pixel's class and w its weight
    (Lin et al., "Focal loss for dense object detection", 2017)."""
    known, log_p = _find_log_p(logits, label)
    factor = (1 - log_p.exp()).clamp(min=LEAST) ** gamma
    total = (-factor * log_p * _weigh_pixels(label, known, class_weight)).sum()
    return total / (label.numel() if average == "all_pixels" else known.sum().clamp(min=1))


def compute_ohem_loss(
    logits: Tensor,
    label: Tensor,
    threshold: float,
    min_share: float,
    class_weight: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of the hard pixels: those whose class has a probability below `threshold`,
    but at least the hardest `min_share` of the batch's pixels (Shrivastava et al., "Training
    region-based object detectors with online hard example mining", 2016)."""
    known, log_p = _find_log_p(logits, label)
    p = log_p.detach().exp().masked_fill(~known, 2.0)  # beyond every probability
    least = p.flatten().kthvalue(math.ceil(min_share * p.numel())).values
    hard = known & ((p < threshold) | (p <= least))
    total = (-log_p * _weigh_pixels(label, hard, class_weight)).sum()
    return total / hard.sum().clamp(min=1)


def compute_dice_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Mean of 1 - 2 |P G| / (|P| + |G|) over the classes in the labels, with soft sizes over the
    whole batch (Milletari et al., "V-Net", 2016)."""
    known, p = label != IGNORE, logits.softmax(1)
    classes = p.shape[1]
    bins = label.where(known, classes).flatten().long()  # the last one for ignored pixels
    own = p.gather(1, label.where(known, 0)[:, None].long()).flatten()
    overlap = p.new_zeros(classes + 1).index_add(0, bins, own)[:-1]
    labelled = p.new_zeros(classes + 1).index_add(0, bins, torch.ones_like(own))[:-1]
    predicted = (p * known[:, None]).sum((0, 2, 3))
    dice = (2 * overlap + SMOOTHING) / (predicted + labelled + SMOOTHING)
    return _average_present(1 - dice, labelled > 0)


def compute_lovasz_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Mean over the classes in the labels of the Lovasz extension of 1 - IoU, over the whole batch
    (Berman et al., "The Lovasz-softmax loss", 2018).

    Ignored pixels count as pixels of other classes without an error: they come last in the order
    of errors, where they add nothing.
    """
    known, p = label != IGNORE, logits.softmax(1)
    losses, present = [], []
    for k in range(p.shape[1]):
        inside = (label == k).flatten()
        errors = ((inside.view_as(label).to(p.dtype) - p[:, k]).abs() * known).flatten()
        errors, order = errors.sort(descending=True)
        found = inside[order]
        count = found.sum()
        overlap = count - found.cumsum(0)
        union = count + (~found).cumsum(0)
        loss = 1 - overlap.double() / union  # of the first 1, 2, ... pixels taken as wrong
        steps = torch.cat([loss[:1], loss.diff()]).to(p.dtype)
        losses.append(torch.dot(errors, steps))
        present.append(count > 0)
    return _average_present(torch.stack(losses), torch.stack(present))


def _find_log_p(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Returns which pixels count (bool) and the log-probabilities of their classes, both B H W."""
    known = label != IGNORE
    log_p = -F.cross_entropy(logits, label.long(), ignore_index=IGNORE, reduction="none")
    return known, log_p


def _weigh_pixels(label: Tensor, counted: Tensor, class_weight: Tensor | None) -> Tensor:
    """Returns float B H W: 0 for pixels that do not count, else the weight of their class."""
    if class_weight is None:
        return counted.float()
    return class_weight[label.where(counted, 0).long()] * counted


def _average_present(losses: Tensor, present: Tensor) -> Tensor:
    return (losses * present).sum() / present.sum().clamp(min=1)
