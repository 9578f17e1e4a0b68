"""LeMoRe's decoder: four gated fusion modules (GFM), their sum at 1/8, a light head.

"LeMoRe" (ICIP 2025), figure (d): delta'' = conv(local) * sigmoid(conv(global)) + conv(global), all
1x1. The first local map is averaged to 1/8 beforehand (its 1x1 convolution commutes with that).
`fuse` is depthwise everywhere but on Cityscapes, where the published GFLOPs need it dense.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, init_weights, relu, resize

WIDTH = 128


class GatedFusion(nn.Module):
    """local B C h w, tokens B C h' w' -> B 128 h w."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local = ConvNorm(channels, WIDTH)
        self.gate = ConvNorm(channels, WIDTH)
        self.embedding = ConvNorm(channels, WIDTH)

    def forward(self, local: Tensor, tokens: Tensor) -> Tensor:
        size = (local.shape[-2], local.shape[-1])
        gate = resize(torch.sigmoid(self.gate(tokens)), size)
        return torch.addcmul(resize(self.embedding(tokens), size), self.local(local), gate)


class LeMoReHead(nn.Module):
    """Maps at 1/4..1/32 and tokens at 1/64 -> logits B K H/8 W/8."""

    head_parameters = (
        "fuse.conv.weight",
        "fuse.bn.weight",
        "fuse.bn.bias",
        "classifier.weight",
        "classifier.bias",
    )

    def __init__(
        self, channels: tuple[int, ...], num_classes: int, dropout: float, groups: int
    ) -> None:
        super().__init__()
        self.split = list(channels[:-1])
        self.fusions = nn.ModuleList(GatedFusion(width) for width in self.split)
        self.fuse = ConvNorm(WIDTH, WIDTH, groups=groups, activation=relu())
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        self.apply(init_weights)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        *locals_, tokens = features
        size = (locals_[1].shape[-2], locals_[1].shape[-1])
        locals_[0] = F.adaptive_avg_pool2d(locals_[0], size)
        parts = zip(self.fusions, locals_, tokens.split(self.split, dim=1), strict=True)
        fused = [resize(fusion(local, part), size) for fusion, local, part in parts]
        x = fused[0] + fused[1] + fused[2] + fused[3]  # B 128 H/8 W/8
        return self.classifier(self.dropout(self.fuse(x)))


def build(
    *,
    channels: tuple[int, ...],
    num_classes: int,
    dropout: float,
    fuse: Literal["depthwise", "dense"],
) -> LeMoReHead:
    """Head for a backbone that returns four maps and tokens with their channels concatenated."""
    assert len(channels) == 5 and sum(channels[:4]) == channels[4], channels
    if fuse not in ("depthwise", "dense"):
        raise ValueError(f"decode head lemore: fuse is {fuse!r}, expected depthwise or dense")
    return LeMoReHead(channels, num_classes, dropout, WIDTH if fuse == "depthwise" else 1)
