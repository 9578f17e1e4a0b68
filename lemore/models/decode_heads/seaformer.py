"""SeaFormer's light head.

Reproduces "SeaFormer: Squeeze-enhanced Axial Transformer for Mobile Semantic Segmentation" (ICLR
2023) as its published code computes it: the map at 1/8 is gated by the coarser ones in turn.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.head import Channels, DecodeHead, ignore_groups
from lemore.models.layers import ConvNorm, get_size, resize


class Fusion(nn.Module):
    """local * upsampled gate; B C h w and B C'' h' w' -> B C' h w."""

    def __init__(self, local: int, coarse: int, width: int) -> None:
        super().__init__()
        self.local = ConvNorm(local, width)
        self.gate = ConvNorm(coarse, width)

    def forward(self, local: Tensor, coarse: Tensor) -> Tensor:
        gate = F.hardsigmoid(self.gate(coarse))
        return self.local(local) * resize(gate, get_size(local))


class SeaFormerHead(DecodeHead):
    """Maps at 1/8, 1/32, 1/64 -> logits B K H/8 W/8.

    widths [64, 96] (T), [96, 128] (S), [128, 160] (B).
    """

    def __init__(
        self, channels: Channels, num_classes: int, dropout: float, widths: list[int]
    ) -> None:
        super().__init__()
        if len(widths) != len(channels) - 1:
            raise ValueError(
                f"decode head seaformer: widths is {widths!r}, expected {len(channels) - 1} numbers"
            )
        local = (channels[0], *widths)
        self.fusions = nn.ModuleList(
            Fusion(before, coarse, width)
            for before, coarse, width in zip(local[:-1], channels[1:], widths, strict=True)
        )
        self.fuse = ConvNorm(widths[-1], widths[-1], groups=widths[-1], activation=nn.ReLU)
        self.add_classifier(widths[-1], num_classes, dropout)
        ignore_groups(self.fuse.conv)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        x = features[0]
        for fusion, coarse in zip(self.fusions, features[1:], strict=True):
            x = fusion(x, coarse)
        return self.classify(self.fuse(x))


build = SeaFormerHead
