"""Mixtures of neighbouring images: mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019).

The first image of a pair draws what becomes of both. Neighbours in the global batch are neighbours
in every worker's part, so mixtures do not depend on the workers.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Mixture(NamedTuple):
    """The share that an image has of its mixture, and the box of pixels that its partner fills.

    An empty box stands for mixup: every pixel is a weighted mean.
    """

    share: float
    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0


def draw(
    mixup: float, cutmix: float, size: tuple[int, int], rng: np.random.Generator
) -> Mixture | None:
    """Draws the mixture of images of `size` (H, W); None if both are 0.

    mixup, cutmix: alpha of the Beta distribution of the share; of two, each is as likely as the
    other. As in timm, a box may reach over the edge, and the share is what is left of the image.
    """
    if not mixup and not cutmix:
        return None
    cuts = bool(cutmix) and (not mixup or rng.random() < 0.5)
    alpha = cutmix if cuts else mixup
    share = float(rng.beta(alpha, alpha))
    if not cuts:
        return Mixture(share)
    ends = []
    for side in size:
        half, centre = int(side * math.sqrt(1 - share)) // 2, int(rng.integers(side))
        ends.append((max(centre - half, 0), min(centre + half, side)))
    (top, bottom), (left, right) = ends
    return Mixture(1 - (bottom - top) * (right - left) / math.prod(size), top, left, bottom, right)


def mix(images: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Mixes each pair of neighbours: the first two, and so on.

    images: B C H W float. drawn: B 5, a `Mixture` for each image.
    Returns the mixtures and, B, the share that each has of its own image.
    """
    if len(images) % 2:
        raise ValueError(
            f"mixup and cutmix pair neighbours, but a worker takes {len(images)} images at once; "
            "choose batch_size, micro_batch and ray.workers so that it is an even number"
        )
    drawn = drawn.unflatten(0, (-1, 2))[:, :1].expand(-1, 2, -1).flatten(0, 1)
    share, top, left, bottom, right = drawn[..., None, None, None].unbind(1)  # B 1 1 1 each
    rows, columns = (torch.arange(side, device=images.device) for side in images.shape[2:])
    of_rows = (rows[:, None] >= top) & (rows[:, None] < bottom)
    inside = of_rows & (columns >= left) & (columns < right)
    weight = torch.where(bottom > top, inside.logical_not().to(share), share)
    return torch.lerp(swap_partners(images), images, weight), drawn[:, 0]


def swap_partners(values: Tensor) -> Tensor:
    """Swaps each pair of neighbours along the first axis."""
    return values.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
