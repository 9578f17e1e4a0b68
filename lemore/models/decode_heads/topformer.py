"""TopFormer's semantics injection on 1/8, 1/16, 1/32 and its simple head.

Reproduces "TopFormer: Token Pyramid Transformer for Mobile Semantic Segmentation" (CVPR 2022): gate
by hard sigmoid, sum at 1/8. `fuse` is depthwise in TopFormer-T's configurations (dense in the one
for Cityscapes), dense in S and B.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, init_weights, relu, resize


class Injection(nn.Module):
    """local B C h w, tokens B C h' w' -> B width h w."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.local = ConvNorm(channels, width)
        self.gate = ConvNorm(channels, width)
        self.embedding = ConvNorm(channels, width)

    def forward(self, local: Tensor, tokens: Tensor) -> Tensor:
        size = (local.shape[-2], local.shape[-1])
        gate = resize(F.hardsigmoid(self.gate(tokens)), size)
        return torch.addcmul(resize(self.embedding(tokens), size), self.local(local), gate)


class TopFormerHead(nn.Module):
    """Maps at 1/4..1/32 (the first unused) and tokens at 1/64 -> logits B K H/8 W/8."""

    head_parameters = (
        "fuse.conv.weight",
        "fuse.bn.weight",
        "fuse.bn.bias",
        "classifier.weight",
        "classifier.bias",
    )

    def __init__(
        self, channels: tuple[int, ...], num_classes: int, dropout: float, width: int, groups: int
    ) -> None:
        super().__init__()
        self.split = list(channels[:-1])
        self.injections = nn.ModuleList(Injection(c, width) for c in self.split[1:])
        self.fuse = ConvNorm(width, width, groups=groups, activation=relu())
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.apply(init_weights)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        *maps, tokens = features
        size = (maps[1].shape[-2], maps[1].shape[-1])
        parts = zip(self.injections, maps[1:], tokens.split(self.split, dim=1)[1:], strict=True)
        fused = [resize(inject(local, part), size) for inject, local, part in parts]
        x = fused[0] + fused[1] + fused[2]  # B width H/8 W/8
        return self.classifier(self.dropout(self.fuse(x)))


def build(
    *,
    channels: tuple[int, ...],
    num_classes: int,
    dropout: float,
    width: int,
    fuse: Literal["depthwise", "dense"],
) -> TopFormerHead:
    """Head for a backbone that returns four maps and tokens; width 128 (T), 192 (S), 256 (B)."""
    assert len(channels) == 5 and sum(channels[:4]) == channels[4], channels
    if fuse not in ("depthwise", "dense"):
        raise ValueError(f"decode head topformer: fuse is {fuse!r}, expected depthwise or dense")
    groups = width if fuse == "depthwise" else 1
    return TopFormerHead(channels, num_classes, dropout, width, groups)
