"""R-ASPP, the reduced head of MobileNetV2.

After "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018), section 6.3: a 1x1 and a
pooled branch, concatenated, and a 1x1. The paper leaves its layout open; this one has the count
of the published row.
"""

import torch
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, init_weights, relu
from lemore.models.pooling import PooledBranch


class RASPPHead(nn.Module):
    """Last map -> logits at its stride."""

    def __init__(
        self, channels: tuple[int, ...], num_classes: int, dropout: float, width: int
    ) -> None:
        super().__init__()
        self.pool = PooledBranch(channels[-1], width)
        self.project = ConvNorm(channels[-1], width, activation=relu())
        self.bottleneck = ConvNorm(2 * width, width, activation=relu())
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.apply(init_weights)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        x = torch.cat([self.pool(features[-1]), self.project(features[-1])], dim=1)
        return self.classifier(self.dropout(self.bottleneck(x)))


def build(*, channels: tuple[int, ...], num_classes: int, dropout: float, width: int) -> RASPPHead:
    """width 256 in the published row."""
    return RASPPHead(channels, num_classes, dropout, width)
