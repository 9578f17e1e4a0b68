"""DeepLabV3+ with separable convolutions; at width 128 it is Lite-ASPP.

Reproduces "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation" (ECCV
2018) in the layout of the lineage's published configurations: separable ASPP with rates 12, 24, 36,
a 3x3 bottleneck, low-level features at 1/4, two separable 3x3.
"""

import torch
from torch import Tensor, nn

from lemore.models.head import Channels, DecodeHead
from lemore.models.layers import ConvNorm, get_size, resize
from lemore.models.pooling import ASPP, SeparableConv

DILATIONS = (12, 24, 36)


class DeepLabV3PlusHead(DecodeHead):
    """First map (1/4) and last map -> logits B K H/4 W/4.

    width 512 and low_width 48; Lite-ASPP: 128 and 12.
    """

    def __init__(
        self,
        channels: Channels,
        num_classes: int,
        dropout: float,
        width: int,
        low_width: int,
    ) -> None:
        super().__init__()
        self.aspp = ASPP(channels[-1], width, DILATIONS)
        self.bottleneck = ConvNorm(5 * width, width, 3, activation=nn.ReLU)
        self.low = ConvNorm(channels[0], low_width, activation=nn.ReLU)
        self.fuse = nn.Sequential(
            SeparableConv(width + low_width, width), SeparableConv(width, width)
        )
        self.add_classifier(width, num_classes, dropout)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        low = self.low(features[0])
        x = self.bottleneck(self.aspp(features[-1]))
        x = torch.cat([resize(x, get_size(low)), low], dim=1)
        return self.classify(self.fuse(x))


build = DeepLabV3PlusHead
