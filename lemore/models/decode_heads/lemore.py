"""LeMoRe's decoder: four gated fusion modules (GFM), their sum at 1/8, a light head.

"LeMoRe" (ICIP 2025), figure (d): delta'' = conv(local) * sigmoid(conv(global)) + conv(global), all
1x1. The first local map is averaged to 1/8 beforehand (its 1x1 convolution commutes with that).
`fuse` is depthwise everywhere but on Cityscapes, where the published GFLOPs need it dense.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.head import FUSE_AND_CLASSIFIER, Channels, DecodeHead, GatedFusion
from lemore.models.layers import ConvNorm, get_size, resize

WIDTH = 128


class LeMoReHead(DecodeHead):
    """Maps at 1/4..1/32 and tokens at 1/64 -> logits B K H/8 W/8."""

    head_parameters = FUSE_AND_CLASSIFIER

    def __init__(
        self,
        channels: Channels,
        num_classes: int,
        dropout: float,
        fuse: Literal["depthwise", "dense"],
    ) -> None:
        super().__init__()
        assert len(channels) == 5 and sum(channels[:4]) == channels[4], channels
        groups = WIDTH if fuse == "depthwise" else 1
        self.split = list(channels[:-1])
        self.fusions = nn.ModuleList(
            GatedFusion(width, WIDTH, torch.sigmoid) for width in self.split
        )
        self.fuse = ConvNorm(WIDTH, WIDTH, groups=groups, activation=nn.ReLU)
        self.add_classifier(WIDTH, num_classes, dropout)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        finest, *coarser, tokens = features
        size = get_size(coarser[0])  # of 1/8
        maps = [F.adaptive_avg_pool2d(finest, size), *coarser]
        parts = zip(self.fusions, maps, tokens.split(self.split, dim=1), strict=True)
        fused = [resize(fusion(local, part), size) for fusion, local, part in parts]
        x = fused[0] + fused[1] + fused[2] + fused[3]  # B 128 H/8 W/8
        return self.classify(self.fuse(x))


build = LeMoReHead
