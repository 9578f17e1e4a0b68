"""A dilated fully convolutional head, the "FCN-8s" of the paper's Table 1.

After "Fully Convolutional Networks for Semantic Segmentation" (CVPR 2015), as the lineage
configures it: convolutions on the last map, no skip links.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from lemore.models.head import Channels, DecodeHead
from lemore.models.layers import ConvNorm, get_size, resize


class FCNHead(DecodeHead):
    """Last map, or all maps at the first one's size -> logits at that stride.

    FCN: last map, two 3x3 of 512, input concatenated. HRNet: all maps, one 1x1.
    """

    def __init__(
        self,
        channels: Channels,
        num_classes: int,
        dropout: float,
        inputs: Literal["last", "all"],
        width: int,
        convs: int,
        kernel: int,
        concat_input: bool,
    ) -> None:
        super().__init__()
        self.all_maps = inputs == "all"
        entering = sum(channels) if self.all_maps else channels[-1]
        widths = [entering] + [width] * convs
        self.convs = nn.Sequential(
            *(ConvNorm(a, b, kernel, activation=nn.ReLU) for a, b in pairwise(widths))
        )
        both = entering + width
        self.concat = ConvNorm(both, width, kernel, activation=nn.ReLU) if concat_input else None
        self.add_classifier(width, num_classes, dropout)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        x = features[-1]
        if self.all_maps:
            size = get_size(features[0])
            x = torch.cat([resize(feature, size) for feature in features], dim=1)
        y = self.convs(x)
        if self.concat is not None:
            y = self.concat(torch.cat([x, y], dim=1))
        return self.classify(y)


build = FCNHead
