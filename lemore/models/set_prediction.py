"""The loss of mask classification: queries matched with the classes present in an image.

"Masked-attention Mask Transformer for Universal Image Segmentation" (CVPR 2022), sections 3.2 and
4.1, with the weights that PEM trains with: the matching minimises class, mask and dice costs over
random points; matched queries learn their class, and their mask on points where they are unsure;
the others learn "none", which counts a tenth.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lemore.config.labels import IGNORE

CLASS_WEIGHT, MASK_WEIGHT, DICE_WEIGHT, NONE_WEIGHT = 2.0, 5.0, 5.0, 0.1
POINTS, OVERSAMPLE, UNSURE_SHARE = 12544, 3, 0.75


class Masks(NamedTuple):
    """Predictions of the queries: class logits B Q K+1 (last: "none") and mask logits B Q h w."""

    classes: Tensor
    masks: Tensor


class Targets(NamedTuple):
    """The T classes present in the images of a batch, image after image.

    image, classes: T int64. place: T int64, a target's number within its image. masks: T 1 H W
    float, 0 or 1. counts: of each image, on the host.
    """

    image: Tensor
    classes: Tensor
    place: Tensor
    masks: Tensor
    counts: list[int]


def compute_set_loss(outputs: Sequence[Masks], label: Tensor) -> Tensor:
    """Weighted loss of several predictions of the same images, summed.

    label: B H W train ids, 255 ignored: such pixels belong to no mask. Returns a scalar. The host
    waits for the device twice: for the classes that are present, and for all costs of matching.
    """
    targets = _find_targets(label)
    queries = _match(outputs, targets)  # L T
    classes = torch.stack([output.classes.float() for output in outputs])  # L B Q K+1
    loss = CLASS_WEIGHT * _sum_class_losses(classes, targets, queries)
    if not len(targets.image):
        return loss
    for output, chosen in zip(outputs, queries, strict=True):
        masks = output.masks[targets.image, chosen]  # T h w
        loss = loss + _sum_mask_losses(masks[:, None], targets.masks) / len(targets.image)
    return loss


def _find_targets(label: Tensor) -> Targets:
    present = torch.zeros(len(label), IGNORE + 1, dtype=torch.bool, device=label.device)
    present = present.scatter_(1, label.flatten(1).long(), True)[:, :IGNORE].cpu().numpy()
    image, classes = present.nonzero()
    counts = present.sum(1)
    place = np.concatenate([np.arange(count) for count in counts])
    rows = torch.from_numpy(np.stack([image, classes, place]))
    rows = rows.to(label.device, non_blocking=True)
    masks = (label[rows[0]] == rows[1][:, None, None]).float()
    return Targets(rows[0], rows[1], rows[2], masks[:, None], counts.tolist())


@torch.no_grad()
def _match(outputs: Sequence[Masks], targets: Targets) -> Tensor:
    """Returns L T, the query of each target in each prediction at the least total cost."""
    costs = torch.stack([_compute_costs(output, targets) for output in outputs])  # L B Q M
    matched = np.zeros((len(outputs), len(targets.image)), np.int64)
    for cost, row in zip(costs.cpu().numpy(), matched, strict=True):
        first = 0
        for its, count in zip(cost, targets.counts, strict=True):
            queries, indices = linear_sum_assignment(its[:, :count])
            row[first + indices] = queries
            first += count
    return torch.from_numpy(matched).to(targets.image.device, non_blocking=True)


def _compute_costs(output: Masks, targets: Targets) -> Tensor:
    """B Q M; columns beyond an image's targets have no meaning."""
    batch, most = len(output.masks), max(targets.counts)
    points = torch.rand(batch, POINTS, 2, device=output.masks.device)
    logits = _sample(output.masks.float(), points)  # B Q P
    slots = targets.image, targets.place
    classes = targets.image.new_zeros(batch, most)
    classes[slots] = targets.classes
    wanted = logits.new_zeros(batch, most, POINTS)
    wanted[slots] = _sample(targets.masks, points[targets.image])[:, 0]
    chosen = classes[:, None].expand(-1, output.classes.shape[1], -1)
    cost = -CLASS_WEIGHT * output.classes.float().softmax(-1).gather(2, chosen)
    cost = cost + MASK_WEIGHT * _compare_by_cross_entropy(logits, wanted)
    return cost + DICE_WEIGHT * _compare_by_dice(logits.sigmoid(), wanted)


def _sum_class_losses(classes: Tensor, targets: Targets, queries: Tensor) -> Tensor:
    """classes: L B Q K+1 logits. A prediction's loss is its mean with "none" counting a tenth.

    As many queries are matched in each prediction, so the mean of all is that of the means.
    """
    none = classes.shape[-1] - 1
    wanted = torch.full(classes.shape[:-1], none, device=classes.device)
    layer = torch.arange(len(classes), device=classes.device)[:, None]
    wanted[layer, targets.image, queries] = targets.classes.expand_as(queries)
    weight = classes.new_ones(none + 1)
    weight[none:] = NONE_WEIGHT
    mean = F.cross_entropy(classes.flatten(0, 2), wanted.flatten(), weight)
    return mean * len(classes)


def _sum_mask_losses(masks: Tensor, wanted: Tensor) -> Tensor:
    """Weighted cross-entropy and dice of matched pairs (T 1 h w and T 1 H W), summed over them."""
    masks = masks.float()
    with torch.no_grad():
        points = _draw_points(masks)
        labels = _sample(wanted, points)[:, 0]
    logits = _sample(masks, points)[:, 0]
    cross_entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * labels).sum(1)
    dice = 1 - (overlap + 1) / (probabilities.sum(1) + labels.sum(1) + 1)
    return (MASK_WEIGHT * cross_entropy + DICE_WEIGHT * dice).sum()


def _draw_points(masks: Tensor) -> Tensor:
    """Draws T POINTS 2 in [0, 1): three quarters are the least sure of many, the rest random."""
    count, unsure = len(masks), int(UNSURE_SHARE * POINTS)
    many = torch.rand(count, OVERSAMPLE * POINTS, 2, device=masks.device)
    chosen = _sample(masks, many)[:, 0].abs().topk(unsure, largest=False).indices
    points = many.gather(1, chosen[..., None].expand(-1, -1, 2))
    others = torch.rand(count, POINTS - unsure, 2, device=masks.device)
    return torch.cat([points, others], dim=1)


def _sample(maps: Tensor, points: Tensor) -> Tensor:
    """Reads maps N C h w bilinearly at points N P 2, x and y in [0, 1); N C P."""
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]


def _compare_by_cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """B Q P and B M P -> B Q M, mean over the points."""
    positive, negative = F.softplus(-logits), F.softplus(logits)
    wanted = wanted.transpose(1, 2)
    return (positive @ wanted + negative @ (1 - wanted)) / logits.shape[2]


def _compare_by_dice(probabilities: Tensor, wanted: Tensor) -> Tensor:
    """B Q P and B M P -> B Q M."""
    overlap = 2 * probabilities @ wanted.transpose(1, 2)
    return 1 - (overlap + 1) / (probabilities.sum(2)[..., None] + wanted.sum(2)[:, None] + 1)
