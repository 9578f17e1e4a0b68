"""HRNet-W18-Small, which keeps a map at 1/4 throughout.

Reproduces "Deep High-Resolution Representation Learning for Visual Recognition" (TPAMI 2020) in the
layout that the lineage calls hr18s (two blocks a branch; one, three and two modules). Differs in
nothing known.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, get_size, initialize_weights, resize

STEM = 64
BOTTLENECKS = 2
BLOCKS = 2
MODULES = (1, 3, 2)  # with two, three and four branches


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to four times the width, shortcut; B C h w."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(channels, width, activation=nn.ReLU),
            ConvNorm(width, width, 3, activation=nn.ReLU),
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
            ConvNorm(channels, channels, 3, activation=nn.ReLU), ConvNorm(channels, channels, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.layers(x))


def _make_path(before: int, after: int, source: int, target: int) -> nn.Module:
    """Makes the path from branch `source` to branch `target`; the sum does any upsampling.

    It goes down by strided 3x3: all but the last keep the width and have a ReLU.
    """
    if source == target:
        return nn.Identity()
    if source > target:
        return ConvNorm(before, after)
    layers = [
        ConvNorm(before, before, 3, stride=2, activation=nn.ReLU)
        for _ in range(target - source - 1)
    ]
    return nn.Sequential(*layers, ConvNorm(before, after, 3, stride=2))


class Sum(nn.Module):
    """All branches brought to the size and width of branch `target`, summed, ReLU."""

    def __init__(self, widths: tuple[int, ...], target: int) -> None:
        super().__init__()
        self.target = target
        self.paths = nn.ModuleList(
            _make_path(before, widths[target], source, target)
            for source, before in enumerate(widths)
        )

    def forward(self, *maps: Tensor) -> Tensor:
        size = get_size(maps[self.target])
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


class HRNetStage(nn.Module):
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
    """B 3 H W -> maps at 1/4, 1/8, 1/16, 1/32; widths [18, 36, 72, 144]."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        if len(widths) != len(MODULES) + 1:
            raise ValueError(f"backbone hrnet: widths is {widths!r}, expected four whole numbers")
        self.channels = tuple(widths)
        self.stem = nn.Sequential(
            ConvNorm(3, STEM, 3, stride=2, activation=nn.ReLU),
            ConvNorm(STEM, STEM, 3, stride=2, activation=nn.ReLU),
            Bottleneck(STEM, STEM),
            *(Bottleneck(4 * STEM, STEM) for _ in range(BOTTLENECKS - 1)),
        )
        self.first = ConvNorm(4 * STEM, widths[0], 3, activation=nn.ReLU)
        before = (4 * STEM, *widths[1:-1])
        self.new_branches = nn.ModuleList(
            ConvNorm(a, b, 3, stride=2, activation=nn.ReLU)
            for a, b in zip(before, widths[1:], strict=True)
        )
        self.stages = nn.ModuleList(
            HRNetStage(self.channels[: index + 2], modules) for index, modules in enumerate(MODULES)
        )
        self.apply(initialize_weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        maps = [self.first(x)]
        last = x  # the coarsest map so far, from which a new branch starts
        for new_branch, stage in zip(self.new_branches, self.stages, strict=True):
            maps = stage(*maps, new_branch(last))
            last = maps[-1]
        return tuple(maps)


build = HRNet
