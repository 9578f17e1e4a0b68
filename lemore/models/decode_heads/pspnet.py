"""PSPNet's pyramid pooling.

Reproduces "Pyramid Scene Parsing Network" (CVPR 2017): means over 1, 2, 3 and 6 bins a side.
"""

import torch
from torch import Tensor, nn

from lemore.models.head import Channels, DecodeHead
from lemore.models.layers import ConvNorm
from lemore.models.pooling import PooledBranch

BINS = (1, 2, 3, 6)


class PSPHead(DecodeHead):
    """Last map -> logits at its stride; width 512 in the published rows."""

    def __init__(self, channels: Channels, num_classes: int, dropout: float, width: int) -> None:
        super().__init__()
        self.pyramid = nn.ModuleList(PooledBranch(channels[-1], width, bins) for bins in BINS)
        total = channels[-1] + len(BINS) * width
        self.bottleneck = ConvNorm(total, width, 3, activation=nn.ReLU)
        self.add_classifier(width, num_classes, dropout)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        x = features[-1]
        x = torch.cat([x, *(branch(x) for branch in self.pyramid)], dim=1)
        return self.classify(self.bottleneck(x))


build = PSPHead
