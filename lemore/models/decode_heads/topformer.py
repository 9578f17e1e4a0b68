"""TopFormer's semantics injection on 1/8, 1/16, 1/32 and its simple head.

Reproduces "TopFormer: Token Pyramid Transformer for Mobile Semantic Segmentation" (CVPR 2022): gate
by hard sigmoid, sum at 1/8. `fuse` is depthwise in TopFormer-T's configurations (dense in the one
for Cityscapes), dense in S and B.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.head import (
    FUSE_AND_CLASSIFIER,
    Channels,
    DecodeHead,
    GatedFusion,
    ignore_groups,
)
from lemore.models.layers import ConvNorm, get_size, resize


class TopFormerHead(DecodeHead):
    """Maps at 1/4..1/32 (the first unused) and tokens at 1/64 -> logits B K H/8 W/8.

    width 128 (T), 192 (S), 256 (B).
    """

    head_parameters = FUSE_AND_CLASSIFIER

    def __init__(
        self,
        channels: Channels,
        num_classes: int,
        dropout: float,
        width: int,
        fuse: Literal["depthwise", "dense"],
    ) -> None:
        super().__init__()
        assert len(channels) == 5 and sum(channels[:4]) == channels[4], channels
        groups = width if fuse == "depthwise" else 1
        self.split = list(channels[:-1])
        self.injections = nn.ModuleList(
            GatedFusion(c, width, F.hardsigmoid) for c in self.split[1:]
        )
        self.fuse = ConvNorm(width, width, groups=groups, activation=nn.ReLU)
        self.add_classifier(width, num_classes, dropout)
        ignore_groups(self.fuse.conv)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        *maps, tokens = features
        size = get_size(maps[1])
        parts = zip(self.injections, maps[1:], tokens.split(self.split, dim=1)[1:], strict=True)
        fused = [resize(inject(local, part), size) for inject, local, part in parts]
        x = fused[0] + fused[1] + fused[2]  # B width H/8 W/8
        return self.classify(self.fuse(x))


build = TopFormerHead
