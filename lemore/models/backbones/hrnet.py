"""HRNet-W18-Small, which keeps a map at 1/4 all the way.

Reproduces "Deep High-Resolution Representation Learning for Visual Recognition" (TPAMI 2020) in the
layout that the lineage calls hr18s (blocks of two, one, three and two modules). Differs in
nothing known.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, Size, init_weights, relu, resize

STEM = 64
BOTTLENECKS = 2
BLOCKS = 2
MODULES = (1, 3, 2)  # with two, three and four branches


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to four times the width, shortcut; B C h w."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(channels, width, activation=relu()),
            ConvNorm(width, width, 3, activation=relu()),
            ConvNorm(width, 4 * width),
        )
        self.shortcut = ConvNorm(channels, 4 * width) if channels != 4 * width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.layers(x))


class BasicBlock(nn.Module):
    """Two 3x3 and a shortcut; B C h w."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(channels, channels, 3, activation=relu()), ConvNorm(channels, channels, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.layers(x))


def _downsample(before: int, after: int, steps: int) -> nn.Sequential:
    """`steps` strided 3x3; all but the last keep the width and have a ReLU."""
    widths = [before] * steps + [after]
    pairs = list(enumerate(pairwise(widths), 1))
    return nn.Sequential(
        *(
            ConvNorm(a, b, 3, stride=2, activation=relu() if step < steps else None)
            for step, (a, b) in pairs
        )
    )


def _exchange(before: int, after: int, source: int, target: int) -> nn.Module:
    """From branch `source` to branch `target`, upsampling left to the sum."""
    if source == target:
        return nn.Identity()
    if source > target:
        return ConvNorm(before, after)
    return _downsample(before, after, target - source)


class Sum(nn.Module):
    """All branches brought to the size and width of branch `target`, summed, ReLU."""

    def __init__(self, widths: tuple[int, ...], target: int) -> None:
        super().__init__()
        self.target = target
        self.paths = nn.ModuleList(
            _exchange(before, widths[target], source, target)
            for source, before in enumerate(widths)
        )

    def forward(self, *maps: Tensor) -> Tensor:
        size = (maps[self.target].shape[-2], maps[self.target].shape[-1])
        parts = [resize(path(x), size) for path, x in zip(self.paths, maps, strict=True)]
        return F.relu(sum(parts[1:], parts[0]))


class Exchange(nn.Module):
    """Blocks on every branch, then each branch is the sum of all."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(BLOCKS))) for width in widths
        )
        self.paths = nn.ModuleList(Sum(widths, target) for target in range(len(widths)))

    def forward(self, *maps: Tensor) -> list[Tensor]:
        maps = tuple(branch(x) for branch, x in zip(self.branches, maps, strict=True))
        return [path(*maps) for path in self.paths]


class Stage(nn.Module):
    """Exchanges one after another, between branches of the same `widths`."""

    def __init__(self, widths: tuple[int, ...], modules: int) -> None:
        super().__init__()
        self.exchanges = nn.ModuleList(Exchange(widths) for _ in range(modules))

    def forward(self, *maps: Tensor) -> list[Tensor]:
        exchanged = list(maps)
        for exchange in self.exchanges:
            exchanged = exchange(*exchanged)
        return exchanged


class HRNet(nn.Module):
    """B 3 H W -> maps at 1/4, 1/8, 1/16, 1/32."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = widths
        self.stem = nn.Sequential(
            ConvNorm(3, STEM, 3, stride=2, activation=relu()),
            ConvNorm(STEM, STEM, 3, stride=2, activation=relu()),
            Bottleneck(STEM, STEM),
            *(Bottleneck(4 * STEM, STEM) for _ in range(BOTTLENECKS - 1)),
        )
        self.first = ConvNorm(4 * STEM, widths[0], 3, activation=relu())
        before = (4 * STEM, *widths[1:-1])
        self.new_branches = nn.ModuleList(
            ConvNorm(a, b, 3, stride=2, activation=relu())
            for a, b in zip(before, widths[1:], strict=True)
        )
        self.stages = nn.ModuleList(
            Stage(widths[: index + 2], modules) for index, modules in enumerate(MODULES)
        )
        self.apply(init_weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        maps = [self.first(x)]
        last = x  # the coarsest map so far, from which a new branch starts
        for new_branch, stage in zip(self.new_branches, self.stages, strict=True):
            maps = stage(*maps, new_branch(last))
            last = maps[-1]
        return tuple(maps)


def build(*, input_size: Size, drop_path: float, widths: list[int]) -> HRNet:
    """widths [18, 36, 72, 144]; `input_size` and `drop_path` are not used."""
    del input_size, drop_path
    if len(widths) != len(MODULES) + 1:
        raise ValueError(f"backbone hrnet: widths is {widths!r}, expected four whole numbers")
    return HRNet(tuple(widths))
