"""STDC, the short-term dense concatenate network.

Reproduces "Rethinking BiSeNet for Real-time Semantic Segmentation" (CVPR 2021), blocks of four
convolutions, without its last 1x1. Differs in nothing known.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, initialize_weights
from lemore.models.sequential import SequentialEncoder

BASE = 64
CHANNELS = (4 * BASE, 8 * BASE, 16 * BASE)
DEPTHS = {1: (2, 2, 2), 2: (4, 5, 3)}


class ConcatBlock(nn.Module):
    """1x1 to half the width, three 3x3 to 1/4, 1/8, 1/8 of it; all four concatenated."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        half, quarter, eighth = channels // 2, channels // 4, channels // 8
        self.first = ConvNorm(in_channels, half, activation=nn.ReLU)
        strided = stride == 2
        self.down = ConvNorm(half, half, 3, stride=2, groups=half) if strided else nn.Identity()
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if strided else nn.Identity()
        self.convs = nn.ModuleList(
            [
                ConvNorm(half, quarter, 3, activation=nn.ReLU),
                ConvNorm(quarter, eighth, 3, activation=nn.ReLU),
                ConvNorm(eighth, eighth, 3, activation=nn.ReLU),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        maps, y = [self.pool(first)], self.down(first)
        for conv in self.convs:
            y = conv(y)
            maps.append(y)
        return torch.cat(maps, dim=1)


def build(variant: Literal[1, 2]) -> SequentialEncoder:
    """STDC1 or STDC2, maps at 1/4..1/32."""
    layers: list[nn.Module] = [
        ConvNorm(3, BASE // 2, 3, stride=2, activation=nn.ReLU),
        ConvNorm(BASE // 2, BASE, 3, stride=2, activation=nn.ReLU),
    ]
    taps, width = {1: BASE}, BASE
    for channels, depth in zip(CHANNELS, DEPTHS[variant], strict=True):
        layers += [ConcatBlock(width, channels, 2)]
        layers += [ConcatBlock(channels, channels, 1) for _ in range(depth - 1)]
        taps[len(layers) - 1] = width = channels
    encoder = SequentialEncoder(nn.Sequential(*layers), taps)
    encoder.apply(initialize_weights)
    return encoder
