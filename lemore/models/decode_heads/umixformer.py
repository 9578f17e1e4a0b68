"""U-MixFormer's decoder: each stage queries the mixture of all, the refined ones among them.

Reproduces "U-MixFormer: UNet-like Transformer with Mix-Attention for Efficient Semantic
Segmentation" (WACV 2024) as its published code computes it, oddities included: the residual adds
to the normalised input, and of the convolution and layer norm that should reduce the mixture, the
first is never called and the second's result is dropped. They are kept, frozen, since the
published weights and parameter counts contain them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, DropPath, init_weights, relu, resize
from lemore.models.tokens import FeedForward, grid, init_linear, tokens

HEADS = (1, 2, 5, 8)  # at 1/4..1/32
POOLS = (8, 4, 2, 1)
DROP_PATH = 0.1


class Mixture(nn.Module):
    """Maps averaged to the coarsest one's size and concatenated coarse to fine, as tokens."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(c, c, 1) for c in channels[:-1])

    def forward(self, maps: list[Tensor]) -> Tensor:
        parts = [
            project(F.avg_pool2d(x, pool, ceil_mode=True))
            for project, x, pool in zip(self.projections, maps[:-1], POOLS[:-1], strict=True)
        ]
        return tokens(torch.cat([maps[-1], *parts[::-1]], dim=1))


class MixAttention(nn.Module):
    """Queries B N C over the mixture B M C' -> B N C."""

    def __init__(self, channels: int, source: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(source, 2 * channels, bias=False)
        self.output = nn.Linear(channels, channels)
        self.unused_reduce = nn.Conv2d(source, source, 1).requires_grad_(False)
        self.unused_norm = nn.LayerNorm(source).requires_grad_(False)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        pair = self.key_value(F.gelu(source)).unflatten(-1, (2, self.heads, -1))
        k, v = pair.permute(2, 0, 3, 1, 4)  # B heads M d
        q = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # B heads N d
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x = norm(x) + attention, then x = norm(x) + FFN; B C h w and B M C' -> B C h w."""

    def __init__(self, channels: int, source: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.norm_source = nn.LayerNorm(source)
        self.attention = MixAttention(channels, source, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.feed_forward = FeedForward(channels)
        self.drop_path = DropPath(DROP_PATH)

    def forward(self, image: Tensor, source: Tensor) -> Tensor:
        size = (image.shape[-2], image.shape[-1])
        x = self.norm1(tokens(image))
        x = x + self.drop_path(self.attention(x, self.norm_source(source)))
        x = self.norm2(x)
        return grid(x + self.drop_path(self.feed_forward(x, size)), size)


class UMixFormerHead(nn.Module):
    """Maps at 1/4..1/32 -> logits B K H/4 W/4."""

    def __init__(
        self, channels: tuple[int, ...], num_classes: int, dropout: float, width: int
    ) -> None:
        super().__init__()
        total = sum(channels)
        pairs = zip(channels, HEADS, strict=True)
        self.blocks = nn.ModuleList(Block(c, total, heads) for c, heads in pairs)
        self.mixtures = nn.ModuleList(Mixture(channels) for _ in channels)
        self.fuse = ConvNorm(total, width, activation=relu())
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.apply(init_weights)
        self.apply(init_linear)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        maps = list(features)
        for index in reversed(range(len(maps))):  # coarse to fine; what is refined is mixed in
            maps[index] = self.blocks[index](maps[index], self.mixtures[index](maps))
        size = (maps[0].shape[-2], maps[0].shape[-1])
        fused = torch.cat([resize(x, size) for x in maps[::-1]], dim=1)
        return self.classifier(self.dropout(self.fuse(fused)))


def build(
    *, channels: tuple[int, ...], num_classes: int, dropout: float, width: int
) -> UMixFormerHead:
    """width 128 for B0."""
    return UMixFormerHead(channels, num_classes, dropout, width)
