"""MetaSeg's decoder with channel-reduction attention.

Reproduces "MetaSeg: MetaFormer-based Global Contexts-aware Network for Efficient Semantic
Segmentation" (WACV 2024) as its published code computes it, less a classifier that its forward pass
never uses (129 parameters a class at width 128).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.head import Channels, DecodeHead
from lemore.models.layers import ConvNorm, DropPath, get_size, resize
from lemore.models.tokens import initialize_linear

HEADS = (2, 4, 8)  # at 1/8, 1/16, 1/32
POOLS = (8, 4, 2)
EXPANSION = 2
DROP_PATH = 0.1


class ChannelReductionAttention(nn.Module):
    """Attention with one channel a head for queries and keys, on a pooled map; B C h w."""

    def __init__(self, channels: int, heads: int, pool: int) -> None:
        super().__init__()
        self.heads, self.scale, self.pool = heads, (channels // heads) ** -0.5, pool
        self.query = nn.Linear(channels, heads, bias=False)
        self.key = nn.Linear(channels, heads, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.output = nn.Linear(channels, channels)
        self.reduce = nn.Conv2d(channels, channels, 1)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """x: B h w C."""
        source = self.reduce(F.avg_pool2d(x.permute(0, 3, 1, 2), self.pool))
        source = F.gelu(self.norm(source.permute(0, 2, 3, 1).flatten(1, 2)))  # B M C
        q = self.query(x).flatten(1, 2).transpose(1, 2)[..., None]  # B heads N 1
        k = self.key(source).transpose(1, 2)[..., None, :]  # B heads 1 M
        v = self.value(source).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # B heads M d
        mixed = torch.softmax(q @ k * self.scale, dim=-1) @ v  # B heads N d
        return self.output(mixed.transpose(1, 2).flatten(2)).unflatten(1, x.shape[1:3])


class MetaSegBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); B C h w."""

    def __init__(self, channels: int, heads: int, pool: int) -> None:
        super().__init__()
        hidden = EXPANSION * channels
        self.norm1 = nn.LayerNorm(channels)
        self.attention = ChannelReductionAttention(channels, heads, pool)
        self.norm2 = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, hidden)
        self.reduce = nn.Linear(hidden, channels)
        self.drop_path = DropPath(DROP_PATH)
        self.dropout = nn.Dropout(DROP_PATH)  # the published code gives the MLP that rate

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = x + self.drop_path(self.attention(self.norm1(x)))
        hidden = self.dropout(F.gelu(self.expand(self.norm2(x))))
        x = x + self.drop_path(self.dropout(self.reduce(hidden)))
        return x.permute(0, 3, 1, 2)


class MetaSegHead(DecodeHead):
    """Maps at 1/4 (unused), 1/8, 1/16, 1/32 -> logits B K H/8 W/8; width 128 (T) or 768 (B)."""

    def __init__(self, channels: Channels, num_classes: int, dropout: float, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            MetaSegBlock(c, heads, pool)
            for c, heads, pool in zip(channels[1:], HEADS, POOLS, strict=True)
        )
        self.fuse = ConvNorm(sum(channels[1:]), width, activation=nn.ReLU)
        self.add_classifier(width, num_classes, dropout, initialize_linear)
        self.classifier.reset_parameters()  # the original leaves torch's weights

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        size = get_size(features[1])
        pairs = zip(self.blocks, features[1:], strict=True)
        maps = [resize(block(x), size) for block, x in pairs]
        return self.classify(self.fuse(torch.cat(maps[::-1], dim=1)))


build = MetaSegHead
