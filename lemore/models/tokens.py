"""Between maps and tokens, and the feed-forward network of the MiT family."""

import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.layers import Size

EXPANSION = 4


def tokens(x: Tensor) -> Tensor:
    """B C h w -> B N C; a view where the map is channels_last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def grid(x: Tensor, size: Size) -> Tensor:
    """B N C -> B C h w, channels_last, without a copy."""
    return x.unflatten(1, size).permute(0, 3, 1, 2)


class FeedForward(nn.Module):
    """Linear, depthwise 3x3 on the grid, GELU, linear; B N C -> B N C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels * EXPANSION
        self.expand = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.reduce = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        x = self.depthwise(grid(self.expand(x), size))
        return self.reduce(F.gelu(tokens(x)))


def init_linear(module: nn.Module) -> None:
    """For `Module.apply`: weights of linear layers truncated N(0, 0.02^2)."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
