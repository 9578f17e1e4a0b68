"""PSPNet's pyramid pooling.

Reproduces "Pyramid Scene Parsing Network" (CVPR 2017): means over 1, 2, 3 and 6 bins a side.
"""

import torch
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, init_weights, relu
from lemore.models.pooling import PooledBranch

BINS = (1, 2, 3, 6)


class PSPHead(nn.Module):
    """Last map -> logits at its stride."""

    def __init__(
        self, channels: tuple[int, ...], num_classes: int, dropout: float, width: int
    ) -> None:
        super().__init__()
        self.pyramid = nn.ModuleList(PooledBranch(channels[-1], width, bins) for bins in BINS)
        total = channels[-1] + len(BINS) * width
        self.bottleneck = ConvNorm(total, width, 3, activation=relu())
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.apply(init_weights)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        x = features[-1]
        x = torch.cat([x, *(branch(x) for branch in self.pyramid)], dim=1)
        return self.classifier(self.dropout(self.bottleneck(x)))


def build(*, channels: tuple[int, ...], num_classes: int, dropout: float, width: int) -> PSPHead:
    """width 512 in the published rows."""
    return PSPHead(channels, num_classes, dropout, width)
