"""FeedFormer's decoder: coarse maps query the finest one.

Reproduces "FeedFormer: Revisiting Transformer Decoder for Efficient Semantic Segmentation" (AAAI
2023) as its published code computes it. Differs in nothing known.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.head import Channels, DecodeHead
from lemore.models.layers import ConvNorm, DropPath, get_size, resize
from lemore.models.tokens import FeedForward, attend, flatten_map, initialize_linear, unflatten_map

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
        pooled = flatten_map(self.reduce(F.avg_pool2d(source, self.pool)))
        key_value = self.key_value(F.gelu(self.norm(pooled)))
        return self.output(attend(self.query(x), key_value, self.heads))


class FeedFormerBlock(nn.Module):
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
        size = get_size(image)
        finest = get_size(source)
        normed = unflatten_map(self.norm_source(flatten_map(source)), finest)
        x = flatten_map(image)
        x = x + self.drop_path(self.attention(self.norm1(x), normed))
        x = x + self.drop_path(self.feed_forward(self.norm2(x), size))
        return unflatten_map(x, size)


class FeedFormerHead(DecodeHead):
    """Maps at 1/4..1/32 -> logits B K H/4 W/4; width 128 for B0."""

    def __init__(self, channels: Channels, num_classes: int, dropout: float, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            FeedFormerBlock(c, channels[0], heads, pool)
            for c, heads, pool in zip(channels[1:], HEADS, POOLS, strict=True)
        )
        self.fuse = ConvNorm(sum(channels), width, activation=nn.ReLU)
        self.add_classifier(width, num_classes, dropout, initialize_linear)
        self.classifier.reset_parameters()  # the original leaves torch's weights

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        finest = features[0]
        size = get_size(finest)
        pairs = zip(self.blocks, features[1:], strict=True)
        maps = [finest, *(resize(block(x, finest), size) for block, x in pairs)]
        return self.classify(self.fuse(torch.cat(maps[::-1], dim=1)))


build = FeedFormerHead
