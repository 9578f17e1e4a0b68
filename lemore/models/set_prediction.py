"""The loss of mask classification: queries matched with the classes present in an image.

"Masked-attention Mask Transformer for Universal Image Segmentation" (CVPR 2022), sections 3.2 and
4.1, with the weights that PEM trains with: the matching minimises class, mask and dice costs over
random points; matched queries learn their class, and their mask on points where they are unsure;
the others learn "none", which counts a tenth.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lemore.config.labels import IGNORE

CLASS_WEIGHT, MASK_WEIGHT, DICE_WEIGHT, NONE_WEIGHT = 2.0, 5.0, 5.0, 0.1
POINTS, OVERSAMPLE, UNSURE_SHARE = 12544, 3, 0.75


class Target(NamedTuple):
    """The classes present in an image (M int64) and their masks (M H W float, 0 or 1)."""

    classes: Tensor
    masks: Tensor


def compute_set_loss(classes: Tensor, masks: Tensor, label: Tensor) -> Tensor:
    """Weighted loss of one prediction.

    classes: B Q K+1 logits, the last one for "none". masks: B Q h w logits. label: B H W train ids,
    255 ignored: such pixels belong to no mask. Returns a scalar.
    """
    targets = [_make_target(image) for image in label]
    total = max(sum(len(target.classes) for target in targets), 1)
    matches = [_match(classes[i], masks[i], target) for i, target in enumerate(targets)]
    loss = CLASS_WEIGHT * _compute_class_loss(classes, targets, matches)
    for i, (target, (queries, wanted)) in enumerate(zip(targets, matches, strict=True)):
        if len(queries):
            loss = loss + _compute_mask_loss(masks[i][queries], target.masks[wanted]) / total
    return loss


def _make_target(label: Tensor) -> Target:
    present = torch.unique(label)
    present = present[present != IGNORE].long()
    return Target(present, (label[None] == present[:, None, None]).float())


@torch.no_grad()
def _match(classes: Tensor, masks: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Returns the indices of queries and of their targets, at the least total cost."""
    if not len(target.classes):
        empty = torch.empty(0, dtype=torch.int64, device=masks.device)
        return empty, empty
    points = torch.rand(1, POINTS, 2, device=masks.device)
    logits = _sample(masks.float(), points)  # Q P
    wanted = _sample(target.masks, points)  # M P
    cost = -CLASS_WEIGHT * classes.float().softmax(-1)[:, target.classes]
    cost = cost + MASK_WEIGHT * _compare_by_cross_entropy(logits, wanted)
    cost = cost + DICE_WEIGHT * _compare_by_dice(logits.sigmoid(), wanted)
    queries, targets = linear_sum_assignment(cost.cpu().numpy())
    device = masks.device
    return torch.as_tensor(queries, device=device), torch.as_tensor(targets, device=device)


def _compute_class_loss(
    classes: Tensor, targets: list[Target], matches: list[tuple[Tensor, Tensor]]
) -> Tensor:
    none = classes.shape[-1] - 1
    wanted = torch.full(classes.shape[:2], none, device=classes.device)
    for row, target, (queries, indices) in zip(wanted, targets, matches, strict=True):
        row[queries] = target.classes[indices]
    weight = torch.ones(none + 1, device=classes.device)
    weight[none] = NONE_WEIGHT
    return F.cross_entropy(classes.float().transpose(1, 2), wanted, weight)


def _compute_mask_loss(masks: Tensor, wanted: Tensor) -> Tensor:
    """Weighted cross-entropy and dice of matched pairs (M h w and M H W), summed over them."""
    masks = masks.float()
    with torch.no_grad():
        points = _draw_points(masks)
        labels = _sample(wanted, points)
    logits = _sample(masks, points)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * labels).sum(1)
    dice = 1 - (overlap + 1) / (probabilities.sum(1) + labels.sum(1) + 1)
    return (MASK_WEIGHT * cross_entropy + DICE_WEIGHT * dice).sum()


def _draw_points(masks: Tensor) -> Tensor:
    """Draws M POINTS 2 in [0, 1): three quarters are the least sure of many, the rest random."""
    count, unsure = len(masks), int(UNSURE_SHARE * POINTS)
    many = torch.rand(count, OVERSAMPLE * POINTS, 2, device=masks.device)
    chosen = _sample(masks, many).abs().topk(unsure, largest=False).indices
    points = many.gather(1, chosen[..., None].expand(-1, -1, 2))
    others = torch.rand(count, POINTS - unsure, 2, device=masks.device)
    return torch.cat([points, others], dim=1)


def _sample(maps: Tensor, points: Tensor) -> Tensor:
    """Reads maps M h w bilinearly at points (1 or M) P 2, x and y in [0, 1); M P."""
    grid = 2 * points.expand(len(maps), -1, -1)[:, :, None] - 1
    return F.grid_sample(maps[:, None], grid, align_corners=False)[:, 0, :, 0]


def _compare_by_cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Q P and M P -> Q M, mean over the points."""
    positive, negative = F.softplus(-logits), F.softplus(logits)
    return (positive @ wanted.T + negative @ (1 - wanted).T) / logits.shape[1]


def _compare_by_dice(probabilities: Tensor, wanted: Tensor) -> Tensor:
    """Q P and M P -> Q M."""
    overlap = 2 * probabilities @ wanted.T
    return 1 - (overlap + 1) / (probabilities.sum(1)[:, None] + wanted.sum(1)[None] + 1)
