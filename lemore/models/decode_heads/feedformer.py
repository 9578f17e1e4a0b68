"""FeedFormer's decoder: coarse maps query the finest one.

Reproduces "FeedFormer: Revisiting Transformer Decoder for Efficient Semantic Segmentation" (AAAI
2023) as its published code computes it. Differs in nothing known.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, DropPath, init_weights, relu, resize
from lemore.models.tokens import FeedForward, grid, init_linear, tokens

HEADS = (2, 5, 8)  # queries at 1/8, 1/16, 1/32
POOLS = (2, 4, 8)  # of the map at 1/4, for these queries
DROP_PATH = 0.1


class CrossAttention(nn.Module):
    """Queries B N C over keys and values from a pooled map B C' h w -> B N C."""

    def __init__(self, channels: int, source: int, heads: int, pool: int) -> None:
        super().__init__()
        self.heads, self.pool = heads, pool
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(source, 2 * channels, bias=False)
        self.output = nn.Linear(channels, channels)
        self.reduce = nn.Conv2d(source, source, 1)
        self.norm = nn.LayerNorm(source)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        pooled = tokens(self.reduce(F.avg_pool2d(source, self.pool)))
        pair = self.key_value(F.gelu(self.norm(pooled))).unflatten(-1, (2, self.heads, -1))
        k, v = pair.permute(2, 0, 3, 1, 4)  # B heads M d
        q = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # B heads N d
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x + attention(norm(x), norm(source)), then x + FFN(norm(x)); B C h w."""

    def __init__(self, channels: int, source: int, heads: int, pool: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.norm_source = nn.LayerNorm(source)
        self.attention = CrossAttention(channels, source, heads, pool)
        self.norm2 = nn.LayerNorm(channels)
        self.feed_forward = FeedForward(channels)
        self.drop_path = DropPath(DROP_PATH)

    def forward(self, image: Tensor, source: Tensor) -> Tensor:
        size = (image.shape[-2], image.shape[-1])
        finest = (source.shape[-2], source.shape[-1])
        normed = grid(self.norm_source(tokens(source)), finest)
        x = tokens(image)
        x = x + self.drop_path(self.attention(self.norm1(x), normed))
        x = x + self.drop_path(self.feed_forward(self.norm2(x), size))
        return grid(x, size)


class FeedFormerHead(nn.Module):
    """Maps at 1/4..1/32 -> logits B K H/4 W/4."""

    def __init__(
        self, channels: tuple[int, ...], num_classes: int, dropout: float, width: int
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(c, channels[0], heads, pool)
            for c, heads, pool in zip(channels[1:], HEADS, POOLS, strict=True)
        )
        self.fuse = ConvNorm(sum(channels), width, activation=relu())
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.apply(init_weights)
        self.apply(init_linear)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        finest = features[0]
        size = (finest.shape[-2], finest.shape[-1])
        pairs = zip(self.blocks, features[1:], strict=True)
        maps = [finest, *(resize(block(x, finest), size) for block, x in pairs)]
        return self.classifier(self.dropout(self.fuse(torch.cat(maps[::-1], dim=1))))


def build(
    *, channels: tuple[int, ...], num_classes: int, dropout: float, width: int
) -> FeedFormerHead:
    """width 128 for B0."""
    return FeedFormerHead(channels, num_classes, dropout, width)
