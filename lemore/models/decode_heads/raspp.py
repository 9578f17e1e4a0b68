"""R-ASPP, the reduced head of MobileNetV2.

After "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018), section 6.3: a 1x1 and a
pooled branch, concatenated, and a 1x1. The paper leaves its layout open; this one has the count
of the published row.
"""

import torch
from torch import Tensor, nn

from lemore.models.head import Channels, DecodeHead
from lemore.models.layers import ConvNorm
from lemore.models.pooling import PooledBranch


class RASPPHead(DecodeHead):
    """Last map -> logits at its stride; width 256 in the published row."""

    def __init__(self, channels: Channels, num_classes: int, dropout: float, width: int) -> None:
        super().__init__()
        self.pool = PooledBranch(channels[-1], width)
        self.project = ConvNorm(channels[-1], width, activation=nn.ReLU)
        self.bottleneck = ConvNorm(2 * width, width, activation=nn.ReLU)
        self.add_classifier(width, num_classes, dropout)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        x = torch.cat([self.pool(features[-1]), self.project(features[-1])], dim=1)
        return self.classify(self.bottleneck(x))


build = RASPPHead
