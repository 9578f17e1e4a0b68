"""Conversions between maps and tokens, and the feed-forward network of the MiT family."""

import torch.nn.functional as F
from torch import Tensor, nn

from lemore.config.size import Size

EXPANSION = 4


def flatten_map(x: Tensor) -> Tensor:
    """B C h w -> B N C; a view where the map is channels_last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def unflatten_map(x: Tensor, size: Size) -> Tensor:
    """B N C -> B C h w, channels_last, without a copy."""
    return x.unflatten(1, size).permute(0, 3, 1, 2)


def attend(query: Tensor, key_value: Tensor, heads: int) -> Tensor:
    """Attention of queries B N C over keys and values B M 2C, by heads; B N C."""
    q = query.unflatten(-1, (heads, -1)).transpose(1, 2)  # B heads N d
    k, v = key_value.unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4)  # B heads M d
    mixed = F.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """Linear, depthwise 3x3 on the grid, GELU, linear; B N C -> B N C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels * EXPANSION
        self.expand = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.reduce = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        x = self.depthwise(unflatten_map(self.expand(x), size))
        return self.reduce(F.gelu(flatten_map(x)))


def initialize_linear(module: nn.Module) -> None:
    """Sets the weights of a linear layer to truncated N(0, 0.02^2); for `Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
