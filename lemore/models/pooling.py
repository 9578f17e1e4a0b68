"""Pooled context and separable convolutions, which the heads of the ASPP family share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, get_size, resize


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 and 1x1, each with norm and ReLU; B C H W -> B C' H W."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__(
            ConvNorm(
                in_channels,
                in_channels,
                3,
                dilation=dilation,
                groups=in_channels,
                activation=nn.ReLU,
            ),
            ConvNorm(in_channels, out_channels, activation=nn.ReLU),
        )


class PooledBranch(nn.Module):
    """Mean over `bins` x `bins` parts of the map, 1x1, resized back; B C H W -> B C' H W."""

    def __init__(self, in_channels: int, out_channels: int, bins: int = 1) -> None:
        super().__init__()
        self.bins = bins
        self.conv = ConvNorm(in_channels, out_channels, activation=nn.ReLU)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.conv(F.adaptive_avg_pool2d(x, self.bins))
        return resize(pooled, get_size(x))


class ASPP(nn.Module):
    """Pooled, 1x1 and dilated separable 3x3 branches, concatenated; B C H W -> B 5*width H W."""

    def __init__(self, in_channels: int, width: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                PooledBranch(in_channels, width),
                ConvNorm(in_channels, width, activation=nn.ReLU),
                *(SeparableConv(in_channels, width, rate) for rate in dilations),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)
