"""TopFormer's token pyramid and semantics extractor.

Reproduces "TopFormer: Token Pyramid Transformer for Mobile Semantic Segmentation" (CVPR 2022) as
its published code computes it: the attention logits are not scaled by 1/sqrt(d), although the code
defines that factor. Differs in nothing known.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lemore.models.layers import (
    ConvFeedForward,
    ConvNorm,
    DropPath,
    InvertedResidual,
    Size,
    drop_path_rates,
    init_weights,
    pool_to_tokens,
    relu,
)

STEM = 16
BLOCKS = 4
KEY_WIDTH, VALUE_WIDTH = 16, 32  # per head


@dataclass(frozen=True)
class Layout:
    """Widths at 1/4..1/32, attention heads, and residuals (kernel, expansion, stride) per map."""

    widths: tuple[int, ...]
    heads: int
    last_stage: tuple[tuple[int, int, int], ...]


TWO_LAST = ((5, 6, 2), (5, 6, 1))
THREE_LAST = (*TWO_LAST, (3, 6, 1))
LAYOUTS = {
    "t": Layout((16, 32, 64, 96), 4, TWO_LAST),
    "s": Layout((24, 48, 96, 128), 6, THREE_LAST),
    "b": Layout((32, 64, 128, 160), 8, THREE_LAST),
}
FIRST_STAGES = (
    ((3, 4, 2), (3, 3, 1)),
    ((5, 3, 2), (5, 3, 1)),
    ((3, 3, 2), (3, 3, 1)),
)


class Attention(nn.Module):
    """softmax(q^T k) v over the tokens, ReLU6, 1x1 output; B C h w -> B C h w."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = ConvNorm(channels, heads * KEY_WIDTH)
        self.key = ConvNorm(channels, heads * KEY_WIDTH)
        self.value = ConvNorm(channels, heads * VALUE_WIDTH)
        self.activation = nn.ReLU6(inplace=True)
        self.output = ConvNorm(heads * VALUE_WIDTH, channels)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        q, k, v = (
            project(x).flatten(2).unflatten(1, (self.heads, -1))  # B heads d N
            for project in (self.query, self.key, self.value)
        )
        attention = torch.softmax(q.transpose(-2, -1) @ k, dim=-1)  # B heads N N
        mixed = (v @ attention.transpose(-2, -1)).reshape(b, -1, h, w)
        return self.output(self.activation(mixed))


class Block(nn.Module):
    """X + attention(X), then X + FFN(X), without pre-norm."""

    def __init__(self, channels: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.attention = Attention(channels, heads)
        self.feed_forward = ConvFeedForward(channels, expansion=2)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attention(x))
        return x + self.drop_path(self.feed_forward(x))


class TopFormer(nn.Module):
    """B 3 H W -> maps at 1/4, 1/8, 1/16, 1/32 and tokens at 1/64 (their channels concatenated)."""

    def __init__(self, layout: Layout, drop_path: float) -> None:
        super().__init__()
        self.channels = (*layout.widths, sum(layout.widths))
        self.stem = nn.Sequential(
            ConvNorm(3, STEM, 3, stride=2, activation=relu()),
            InvertedResidual(STEM, STEM, expansion=1, kernel=3, stride=1),
        )
        stages, before = (*FIRST_STAGES, layout.last_stage), STEM
        self.stages = nn.ModuleList()
        for width, residuals in zip(layout.widths, stages, strict=True):
            blocks = []
            for kernel, expansion, stride in residuals:
                blocks.append(
                    InvertedResidual(
                        before, width, expansion=expansion, kernel=kernel, stride=stride
                    )
                )
                before = width
            self.stages.append(nn.Sequential(*blocks))
        rates = drop_path_rates(drop_path, BLOCKS)
        self.blocks = nn.Sequential(*(Block(self.channels[-1], layout.heads, r) for r in rates))
        self.apply(init_weights)
        for module in self.modules():
            if isinstance(module, Attention):  # the branch starts silent
                nn.init.zeros_(module.output.bn.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return (*features, self.blocks(pool_to_tokens(tuple(features))))


def build(*, input_size: Size, drop_path: float, variant: Literal["t", "s", "b"]) -> TopFormer:
    """TopFormer-Tiny, Small or Base; `input_size` is not used, any size runs."""
    del input_size
    if variant not in LAYOUTS:
        raise ValueError(f"backbone topformer: variant is {variant!r}, expected one of t, s, b")
    return TopFormer(LAYOUTS[variant], drop_path)
