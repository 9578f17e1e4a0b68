"""SeaFormer's convolutional trunk with squeeze-enhanced axial attention.

Reproduces "SeaFormer: Squeeze-enhanced Axial Transformer for Mobile Semantic Segmentation" (ICLR
2023) as its published code computes it. Differs in nothing known.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.layers import (
    AttentionBlock,
    ConvNorm,
    InvertedResidual,
    initialize_weights,
    spread_rates,
)

STEM = 16
POSITIONS = 16  # learned per axis, interpolated to the map's height and width
KEY_WIDTHS = (16, 24)  # per head, at 1/32 and 1/64; values are twice as wide
EXPANSIONS = (2, 4)  # of the feed-forward networks at 1/32 and 1/64
# widths at 1/4..1/64, attention heads, blocks per attention stage, expansion into 1/32
VARIANTS = {
    "t": ((16, 32, 64, 128, 160), 4, 2, 3),
    "s": ((24, 48, 96, 160, 192), 6, 3, 4),
    "b": ((32, 64, 128, 192, 256), 8, 4, 4),
}


class AxisAttention(nn.Module):
    """Attention along one axis of a map whose other axis has been averaged; B C L -> B C' L."""

    def __init__(self, heads: int, key_width: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, key_width**-0.5
        self.query_position = nn.Parameter(torch.randn(1, heads * key_width, POSITIONS))
        self.key_position = nn.Parameter(torch.randn(1, heads * key_width, POSITIONS))
        self.output = ConvNorm(2 * heads * key_width, 2 * heads * key_width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        length = q.shape[-1]
        q = q + F.interpolate(self.query_position, length, mode="linear", align_corners=False)
        k = k + F.interpolate(self.key_position, length, mode="linear", align_corners=False)
        q, k, v = (x.unflatten(1, (self.heads, -1)) for x in (q, k, v))  # B heads d L
        attention = torch.softmax(q.transpose(-2, -1) @ k * self.scale, dim=-1)
        mixed = (v @ attention.transpose(-2, -1)).flatten(1, 2)
        return self.output(F.relu6(mixed)[..., None])[..., 0]


class SqueezeAttention(nn.Module):
    """Axial attention gates a depthwise detail branch; B C h w -> B C h w."""

    def __init__(self, channels: int, heads: int, key_width: int) -> None:
        super().__init__()
        keys, values = heads * key_width, 2 * heads * key_width
        self.query = ConvNorm(channels, keys)
        self.key = ConvNorm(channels, keys)
        self.value = ConvNorm(channels, values)
        self.detail = nn.Sequential(
            ConvNorm(2 * values, 2 * values, 3, groups=2 * values, activation=nn.ReLU6),
            ConvNorm(2 * values, channels),
        )
        self.rows, self.columns = AxisAttention(heads, key_width), AxisAttention(heads, key_width)
        self.gate = ConvNorm(values, channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        detail = self.detail(torch.cat([q, k, v], dim=1))
        rows = self.rows(q.mean(-1), k.mean(-1), v.mean(-1))[..., None]
        columns = self.columns(q.mean(-2), k.mean(-2), v.mean(-2))[..., None, :]
        return F.hardsigmoid(self.gate(F.relu6(v + rows + columns))) * detail


class SeaFormer(nn.Module):
    """SeaFormer-Tiny, Small or Base: B 3 H W -> maps at 1/8, 1/32 and 1/64."""

    def __init__(self, drop_path: float, variant: Literal["t", "s", "b"]) -> None:
        super().__init__()
        (w4, w8, w16, w32, w64), heads, depth, expansion32 = VARIANTS[variant]
        self.channels = (w8, w32, w64)
        # numbers of residuals: widths, kernel, expansion, stride
        self.stem = nn.Sequential(
            ConvNorm(3, STEM, 3, stride=2, activation=nn.ReLU),
            InvertedResidual(STEM, STEM, 3, 1, 1),
            InvertedResidual(STEM, w4, 3, 4, 2),
            InvertedResidual(w4, w4, 3, 3, 1),
        )
        self.stage8 = nn.Sequential(
            InvertedResidual(w4, w8, 5, 3, 2), InvertedResidual(w8, w8, 5, 3, 1)
        )
        self.stage16 = nn.Sequential(
            InvertedResidual(w8, w16, 3, 3, 2), InvertedResidual(w16, w16, 3, 3, 1)
        )
        self.stage32 = InvertedResidual(w16, w32, 5, expansion32, 2)
        self.stage64 = InvertedResidual(w32, w64, 3, 6, 2)
        rates = spread_rates(drop_path, depth)
        self.blocks32, self.blocks64 = (
            nn.Sequential(
                *(AttentionBlock(SqueezeAttention(w, heads, key), w, expansion, r) for r in rates)
            )
            for w, key, expansion in zip((w32, w64), KEY_WIDTHS, EXPANSIONS, strict=True)
        )
        self.apply(initialize_weights)
        for module in self.modules():
            if isinstance(module, SqueezeAttention):  # the gates start at one half
                for output in (module.gate, module.rows.output, module.columns.output):
                    nn.init.zeros_(output.bn.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        at8 = self.stage8(self.stem(x))
        at32 = self.blocks32(self.stage32(self.stage16(at8)))
        return at8, at32, self.blocks64(self.stage64(at32))


build = SeaFormer
