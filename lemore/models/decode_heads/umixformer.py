"""U-MixFormer's decoder: each stage queries the mixture of all stages, refined ones included.

Reproduces "U-MixFormer: UNet-like Transformer with Mix-Attention for Efficient Semantic
Segmentation" (WACV 2024) as its published code computes it, oddities included: the residual adds
to the normalised input, and of the convolution and layer norm that should reduce the mixture, the
first is never called and the second's result is dropped. They are kept, frozen, since the
published weights and parameter counts contain them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.head import Channels, DecodeHead
from lemore.models.layers import ConvNorm, DropPath, get_size, resize
from lemore.models.tokens import FeedForward, attend, flatten_map, initialize_linear, unflatten_map

HEADS = (1, 2, 5, 8)  # at 1/4..1/32
POOLS = (8, 4, 2, 1)
DROP_PATH = 0.1


class TokenMixture(nn.Module):
    """Maps averaged to the coarsest one's size and concatenated coarse to fine, as tokens."""

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(c, c, 1) for c in channels[:-1])

    def forward(self, maps: list[Tensor]) -> Tensor:
        parts = [
            project(F.avg_pool2d(x, pool, ceil_mode=True))
            for project, x, pool in zip(self.projections, maps[:-1], POOLS[:-1], strict=True)
        ]
        return flatten_map(torch.cat([maps[-1], *parts[::-1]], dim=1))


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
        key_value = self.key_value(F.gelu(source))
        return self.output(attend(self.query(x), key_value, self.heads))


class UMixFormerBlock(nn.Module):
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
        size = get_size(image)
        x = self.norm1(flatten_map(image))
        x = x + self.drop_path(self.attention(x, self.norm_source(source)))
        x = self.norm2(x)
        return unflatten_map(x + self.drop_path(self.feed_forward(x, size)), size)


class UMixFormerHead(DecodeHead):
    """Maps at 1/4..1/32 -> logits B K H/4 W/4; width 128 for B0."""

    def __init__(self, channels: Channels, num_classes: int, dropout: float, width: int) -> None:
        super().__init__()
        total = sum(channels)
        pairs = zip(channels, HEADS, strict=True)
        self.blocks = nn.ModuleList(UMixFormerBlock(c, total, heads) for c, heads in pairs)
        self.mixtures = nn.ModuleList(TokenMixture(channels) for _ in channels)
        self.fuse = ConvNorm(total, width, activation=nn.ReLU)
        self.add_classifier(width, num_classes, dropout, initialize_linear)
        self.classifier.reset_parameters()  # the original leaves torch's weights

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        maps = list(features)
        for index in reversed(range(len(maps))):  # coarse to fine; refined maps are mixed in
            maps[index] = self.blocks[index](maps[index], self.mixtures[index](maps))
        size = get_size(maps[0])
        fused = torch.cat([resize(x, size) for x in maps[::-1]], dim=1)
        return self.classify(self.fuse(fused))


build = UMixFormerHead
