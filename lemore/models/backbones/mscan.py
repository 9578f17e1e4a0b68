"""MSCAN, the convolutional-attention encoder of SegNeXt and MetaSeg.

Reproduces "SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation" (NeurIPS
2022) as its published code computes it. Differs in nothing known.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.layers import DropPath, initialize_weights, run_stages, spread_rates

EXPANSIONS = (8, 8, 4, 4)
STRIPS = (7, 11, 21)
LAYER_SCALE = 1e-2


def _make_depthwise(channels: int, kernel: tuple[int, int]) -> nn.Conv2d:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(channels, channels, kernel, padding=padding, groups=channels)


class StripAttention(nn.Module):
    """5x5 and three pairs of strips, summed, mixed by 1x1; gates its input; B C h w."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local = _make_depthwise(channels, (5, 5))
        self.strips = nn.ModuleList(
            nn.Sequential(_make_depthwise(channels, (1, k)), _make_depthwise(channels, (k, 1)))
            for k in STRIPS
        )
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        local = self.local(x)
        attention = local
        for strip in self.strips:
            attention = attention + strip(local)
        return self.mix(attention) * x


class ConvAttention(nn.Module):
    """1x1, GELU, strip attention, 1x1, shortcut; B C h w."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 1)
        self.attention = StripAttention(channels)
        self.leave = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.leave(self.attention(F.gelu(self.enter(x))))


class MSCANFeedForward(nn.Module):
    """1x1, depthwise 3x3, GELU, 1x1; B C h w."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = _make_depthwise(hidden, (3, 3))
        self.reduce = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduce(F.gelu(self.depthwise(self.expand(x))))


class MSCANBlock(nn.Module):
    """x + s1 attention(norm(x)), then x + s2 FFN(norm(x)), batch norms; B C h w."""

    def __init__(self, channels: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.attention = ConvAttention(channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.feed_forward = MSCANFeedForward(channels, expansion)
        self.scale1 = nn.Parameter(LAYER_SCALE * torch.ones(channels, 1, 1))
        self.scale2 = nn.Parameter(LAYER_SCALE * torch.ones(channels, 1, 1))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.scale1 * self.attention(self.bn1(x)))
        return x + self.drop_path(self.scale2 * self.feed_forward(self.bn2(x)))


class MSCANStage(nn.Module):
    """Strided embedding, blocks, layer norm over channels; B C H W -> B C' h w."""

    def __init__(self, embedding: nn.Sequential, blocks: list[MSCANBlock], channels: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.embedding(x))
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _make_stem(channels: int) -> nn.Sequential:
    half = channels // 2
    return nn.Sequential(
        nn.Conv2d(3, half, 3, stride=2, padding=1),
        nn.BatchNorm2d(half),
        nn.GELU(),
        nn.Conv2d(half, channels, 3, stride=2, padding=1),
        nn.BatchNorm2d(channels),
    )


class MSCAN(nn.Module):
    """B 3 H W -> maps at 1/4, 1/8, 1/16, 1/32; dims [32, 64, 160, 256], depths [3, 3, 5, 2] (T)."""

    def __init__(self, drop_path: float, dims: list[int], depths: list[int]) -> None:
        super().__init__()
        for key, value in (("dims", dims), ("depths", depths)):
            if len(value) != len(EXPANSIONS) or any(type(v) is not int or v < 1 for v in value):
                raise ValueError(f"backbone mscan: {key} is {value!r}, expected four whole numbers")
        self.channels = tuple(dims)
        rates = iter(spread_rates(drop_path, sum(depths)))
        self.stages = nn.ModuleList()
        for index, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            if index:
                down = nn.Conv2d(dims[index - 1], dim, 3, stride=2, padding=1)
                embedding = nn.Sequential(down, nn.BatchNorm2d(dim))
            else:
                embedding = _make_stem(dim)
            blocks = [MSCANBlock(dim, EXPANSIONS[index], next(rates)) for _ in range(depth)]
            self.stages.append(MSCANStage(embedding, blocks, dim))
        self.apply(initialize_weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(run_stages(self.stages, x))


build = MSCAN
