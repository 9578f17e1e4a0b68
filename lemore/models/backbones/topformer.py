"""TopFormer's token pyramid and semantics extractor.

Reproduces "TopFormer: Token Pyramid Transformer for Mobile Semantic Segmentation" (CVPR 2022) as
its published code computes it: the attention logits are not scaled by 1/sqrt(d), although the code
defines that factor. Differs in nothing known.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from lemore.models.layers import (
    AttentionBlock,
    ConvNorm,
    InvertedResidual,
    initialize_weights,
    pool_to_tokens,
    run_stages,
    spread_rates,
)

STEM = 16
BLOCKS = 4
KEY_WIDTH, VALUE_WIDTH = 16, 32  # per head
# residuals of a map: kernel, expansion, stride
TWO_LAST = ((5, 6, 2), (5, 6, 1))
THREE_LAST = (*TWO_LAST, (3, 6, 1))
# widths at 1/4..1/32, attention heads, residuals of the last map
VARIANTS = {
    "t": ((16, 32, 64, 96), 4, TWO_LAST),
    "s": ((24, 48, 96, 128), 6, THREE_LAST),
    "b": ((32, 64, 128, 160), 8, THREE_LAST),
}
FIRST_STAGES = (
    ((3, 4, 2), (3, 3, 1)),
    ((5, 3, 2), (5, 3, 1)),
    ((3, 3, 2), (3, 3, 1)),
)


class TokenAttention(nn.Module):
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


class TopFormer(nn.Module):
    """TopFormer-Tiny, Small or Base.

    B 3 H W -> maps at 1/4, 1/8, 1/16, 1/32 and tokens at 1/64 (their channels concatenated).
    """

    def __init__(self, drop_path: float, variant: Literal["t", "s", "b"]) -> None:
        super().__init__()
        widths, heads, last_stage = VARIANTS[variant]
        tokens = sum(widths)
        self.channels = (*widths, tokens)
        self.stem = nn.Sequential(
            ConvNorm(3, STEM, 3, stride=2, activation=nn.ReLU),
            InvertedResidual(STEM, STEM, kernel=3, expansion=1, stride=1),
        )
        stages, before = (*FIRST_STAGES, last_stage), STEM
        self.stages = nn.ModuleList()
        for width, residuals in zip(widths, stages, strict=True):
            blocks = []
            for kernel, expansion, stride in residuals:
                blocks.append(InvertedResidual(before, width, kernel, expansion, stride))
                before = width
            self.stages.append(nn.Sequential(*blocks))
        rates = spread_rates(drop_path, BLOCKS)
        self.blocks = nn.Sequential(
            *(AttentionBlock(TokenAttention(tokens, heads), tokens, 2, rate) for rate in rates)
        )
        self.apply(initialize_weights)
        for module in self.modules():
            if isinstance(module, TokenAttention):  # the branch starts at zero
                nn.init.zeros_(module.output.bn.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = run_stages(self.stages, self.stem(x))
        return (*features, self.blocks(pool_to_tokens(features)))


build = TopFormer
