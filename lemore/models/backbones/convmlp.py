"""ConvMLP's encoder.

Reproduces "ConvMLP: Hierarchical Convolutional MLPs for Vision" (CVPR 2023 workshops) as its
published code computes it. Differs in nothing known.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, DropPath, spread_rates


class ConvBlock(nn.Module):
    """x + 1x1, 3x3, 1x1, each with norm and ReLU; B C h w."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(channels, hidden, activation=nn.ReLU),
            ConvNorm(hidden, hidden, 3, activation=nn.ReLU),
            ConvNorm(hidden, channels, activation=nn.ReLU),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class ChannelMLP(nn.Module):
    """Linear, GELU, linear over the last axis."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, expansion * channels)
        self.reduce = nn.Linear(expansion * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduce(F.gelu(self.expand(x)))


class MLPBlock(nn.Module):
    """Channel MLP, depthwise 3x3, channel MLP, layer norm before each; B h w C."""

    def __init__(self, channels: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.mlp1 = ChannelMLP(channels, expansion)
        self.norm_connect = nn.LayerNorm(channels)
        self.connect = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp2 = ChannelMLP(channels, expansion)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.mlp1(self.norm1(x)))
        x = self.connect(self.norm_connect(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.drop_path(self.mlp2(self.norm2(x)))


class ConvMLP(nn.Module):
    """B 3 H W -> maps at 1/4, 1/8, 1/16, 1/32; all but the last from before their stage's blocks.

    S: stem 64, 2 conv blocks, dims [128, 256, 512], depths [2, 4, 2], expansion 2.
    """

    def __init__(
        self,
        drop_path: float,
        stem: int,
        conv_blocks: int,
        dims: list[int],
        depths: list[int],
        expansion: int,
    ) -> None:
        super().__init__()
        if len(dims) != len(depths):
            raise ValueError(
                f"backbone convmlp: dims {dims!r} and depths {depths!r} differ in length"
            )
        self.channels = (stem, *dims)
        self.tokenizer = nn.Sequential(
            ConvNorm(3, stem // 2, 3, stride=2, activation=nn.ReLU),
            ConvNorm(stem // 2, stem // 2, 3, activation=nn.ReLU),
            ConvNorm(stem // 2, stem, 3, activation=nn.ReLU),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.conv_blocks = nn.Sequential(*(ConvBlock(stem, dims[0]) for _ in range(conv_blocks)))
        self.downsamples = nn.ModuleList(
            nn.Conv2d(before, dim, 3, stride=2, padding=1)
            for before, dim in zip(self.channels[:-1], dims, strict=True)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(MLPBlock(dim, expansion, rate) for rate in spread_rates(drop_path, depth))
            )
            for dim, depth in zip(dims, depths, strict=True)
        )
        self.apply(_init)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.tokenizer(x)
        maps = [x]
        x = self.conv_blocks(x)
        for downsample, stage in zip(self.downsamples, self.stages, strict=True):
            x = downsample(x)
            maps.append(x)
            x = stage(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return (*maps[:-1], x)


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


build = ConvMLP
