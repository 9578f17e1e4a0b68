"""DeepLabV3+ with separable convolutions; at width 128 it is Lite-ASPP.

Reproduces "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation" (ECCV
2018) in the layout of the lineage's published configurations: separable ASPP with rates 12, 24, 36,
a 3x3 bottleneck, low-level features at 1/4, two separable 3x3.
"""

import torch
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, init_weights, relu, resize
from lemore.models.pooling import ASPP, SeparableConv

DILATIONS = (12, 24, 36)


class DeepLabV3PlusHead(nn.Module):
    """First map (1/4) and last map -> logits B K H/4 W/4."""

    def __init__(
        self,
        channels: tuple[int, ...],
        num_classes: int,
        dropout: float,
        width: int,
        low_width: int,
    ) -> None:
        super().__init__()
        self.aspp = ASPP(channels[-1], width, DILATIONS)
        self.bottleneck = ConvNorm(5 * width, width, 3, activation=relu())
        self.low = ConvNorm(channels[0], low_width, activation=relu())
        self.fuse = nn.Sequential(
            SeparableConv(width + low_width, width), SeparableConv(width, width)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.apply(init_weights)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        low = self.low(features[0])
        x = self.bottleneck(self.aspp(features[-1]))
        x = resize(x, (low.shape[-2], low.shape[-1]))
        x = self.fuse(torch.cat([x, low], dim=1))
        return self.classifier(self.dropout(x))


def build(
    *, channels: tuple[int, ...], num_classes: int, dropout: float, width: int, low_width: int
) -> DeepLabV3PlusHead:
    """width 512 and low_width 48; Lite-ASPP: 128 and 12."""
    return DeepLabV3PlusHead(channels, num_classes, dropout, width, low_width)
