"""Encoders that are one sequence of layers, dilated to a finer output stride.

A stage whose stride is removed keeps its receptive field when its kernels, and those of all later
stages, are dilated instead (Chen et al., "Rethinking Atrous Convolution", 2017).
"""

from collections.abc import Iterable

from torch import Tensor, nn


class SequentialEncoder(nn.Module):
    """Runs `features` in order: B 3 H W -> the maps after the layers `taps`, fine to coarse.

    channels: of those maps. Tensors are named `features.<layer>.`, as in torchvision and STDC.
    """

    def __init__(self, features: nn.Sequential, taps: dict[int, int]) -> None:
        super().__init__()
        self.features = features
        self.taps = tuple(taps)
        self.channels = tuple(taps.values())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return tuple(maps)


def dilate(layers: Iterable[nn.Module], rate: int) -> None:
    """Removes every stride in `layers`; kernels larger than one point are spread by `rate`."""
    for layer in layers:
        for module in layer.modules():
            if isinstance(module, nn.Conv2d):
                height, width = module.kernel_size
                module.stride = (1, 1)
                if (height, width) != (1, 1):
                    module.dilation = (rate, rate)
                    module.padding = (height // 2 * rate, width // 2 * rate)
