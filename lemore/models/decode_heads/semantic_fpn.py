"""Semantic FPN: a feature pyramid, each level upsampled step by step and summed.

Reproduces "Panoptic Feature Pyramid Networks" (CVPR 2019), section 3.1, in the lineage's layout:
256 channels in the pyramid, 128 in the head, nearest upsampling on the way down.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.head import Channels, DecodeHead
from lemore.models.layers import ConvNorm, get_size, resize

PYRAMID = 256


class Upsample(nn.Module):
    """Twice the height and width, bilinear."""

    def forward(self, x: Tensor) -> Tensor:
        return resize(x, (2 * x.shape[-2], 2 * x.shape[-1]))


def _make_scale(level: int, width: int) -> nn.Sequential:
    """Level 0: one 3x3. Level n: n times a 3x3 and an upsampling."""
    layers: list[nn.Module] = []
    for step in range(max(level, 1)):
        layers.append(ConvNorm(width if step else PYRAMID, width, 3, activation=nn.ReLU))
        if level:
            layers.append(Upsample())
    return nn.Sequential(*layers)


class SemanticFPNHead(DecodeHead):
    """Maps at 1/4..1/32 -> logits B K H/4 W/4; width 128."""

    def __init__(self, channels: Channels, num_classes: int, dropout: float, width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, PYRAMID, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(PYRAMID, PYRAMID, 3, padding=1) for _ in channels)
        self.scales = nn.ModuleList(_make_scale(level, width) for level in range(len(channels)))
        self.add_classifier(width, num_classes, dropout)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        maps = [lateral(x) for lateral, x in zip(self.laterals, features, strict=True)]
        for fine in reversed(range(len(maps) - 1)):
            size = get_size(maps[fine])
            maps[fine] = maps[fine] + F.interpolate(maps[fine + 1], size, mode="nearest")
        size = get_size(maps[0])
        levels = zip(self.scales, self.smooth, maps, strict=True)
        parts = [resize(scale(smooth(x)), size) for scale, smooth, x in levels]
        return self.classify(sum(parts[1:], parts[0]))


build = SemanticFPNHead
