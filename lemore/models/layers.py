"""Layers that several models share.

Batch norms are called `bn` and layer norms `norm...`, as in the TopFormer and SegFormer lineage,
whose optimiser rules match parameter names by substring.
"""

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.config.size import Size


class ConvNorm(nn.Module):
    """Convolution without bias -> batch norm -> activation; B C H W -> B C' ceil(H/s) ceil(W/s)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | Size = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: type[nn.ReLU] | type[nn.ReLU6] | None = None,
    ) -> None:
        super().__init__()
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (size[0] // 2 * dilation, size[1] // 2 * dilation)
        self.conv = nn.Conv2d(
            in_channels, out_channels, size, stride, padding, dilation, groups, bias=False
        )
        if groups == in_channels:
            choose_kernel(self.conv, "cpu")
        self.bn = nn.BatchNorm2d(out_channels)
        self.activation = activation(inplace=True) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))

    def fold(self) -> None:
        """Folds the norm into the convolution (for inference); a second call does nothing."""
        if isinstance(self.bn, nn.Identity):
            return
        weight, bias = self.fold_norm()
        self.conv.weight.copy_(weight)
        self.conv.bias = nn.Parameter(bias.to(self.conv.weight))
        self.add_module("bn", nn.Identity())

    def fold_norm(self) -> tuple[Tensor, Tensor]:
        """Returns weight and bias (float64) of the one convolution that equals both."""
        bn = self.bn
        assert bn.running_var is not None and bn.running_mean is not None
        gain = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
        weight = self.conv.weight.double() * gain[:, None, None, None]
        return weight, bn.bias.double() - bn.running_mean.double() * gain


def choose_kernel(conv: nn.Conv2d, device: str) -> None:
    """Keeps PyTorch's dispatch from a slow path on that kind of device; changes no result.

    On a CPU with one thread it sends undilated 1x1 convolutions to a kernel that runs a depthwise
    one channel by channel (25 times slower) and copies the bias. Dilation has no effect on a single
    point, but selects oneDNN; elsewhere it would lead away from the kernels made for 1x1.
    """
    if conv.kernel_size == (1, 1) and conv.stride == (1, 1):
        conv.dilation = (2, 2) if device == "cpu" else (1, 1)


class InvertedResidual(nn.Module):
    """1x1 expansion (if any), depthwise, linear 1x1, shortcut where shapes allow (MobileNetV2)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, expansion: int, stride: int
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers = [] if expansion == 1 else [ConvNorm(in_channels, hidden, activation=nn.ReLU)]
        layers += [
            ConvNorm(hidden, hidden, kernel, stride=stride, groups=hidden, activation=nn.ReLU),
            ConvNorm(hidden, out_channels),
        ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


class ConvFeedForward(nn.Module):
    """1x1 and norm, depthwise 3x3 with bias, ReLU6, 1x1 and norm (LeMoRe, TopFormer)."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expand = ConvNorm(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.activation = nn.ReLU6(inplace=True)
        self.reduce = ConvNorm(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduce(self.activation(self.depthwise(self.expand(x))))


class DropPath(nn.Module):
    """Drops the whole branch of a sample with probability `rate`; scales the rest by 1/(1-rate)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        assert 0.0 <= rate < 1.0, rate
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.rate == 0.0 or not self.training:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:.4f}"


class AttentionBlock(nn.Module):
    """X + attention(X), then X + FFN(X), without pre-norm (LeMoRe, TopFormer, SeaFormer); B C h w.

    attention: None for the FFN alone.
    """

    def __init__(
        self, attention: nn.Module | None, channels: int, expansion: int, drop_path: float
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = ConvFeedForward(channels, expansion)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        if self.attention is not None:
            x = x + self.drop_path(self.attention(x))
        return x + self.drop_path(self.feed_forward(x))


def spread_rates(rate: float, blocks: int) -> list[float]:
    """Returns rates that rise linearly from 0 at the first block to `rate` at the last."""
    return [rate * index / max(blocks - 1, 1) for index in range(blocks)]


def get_size(x: Tensor) -> Size:
    """(H, W) of a map B C H W."""
    return x.shape[-2], x.shape[-1]


def resize(x: Tensor, size: Size) -> Tensor:
    """Resizes bilinearly (align_corners False) to `size` (H, W); may return the tensor itself."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def halve(size: Size, times: int = 1) -> Size:
    """Returns the size after `times` convolutions of stride 2, each of which rounds up."""
    step = 2**times
    return -(-size[0] // step), -(-size[1] // step)


def pool_to_tokens(features: Sequence[Tensor]) -> Tensor:
    """Averages maps to half the coarsest size, concatenates: B sum(C) ceil(h/2) ceil(w/2)."""
    size = halve(get_size(features[-1]))
    return torch.cat([F.adaptive_avg_pool2d(x, size) for x in features], dim=1)


def initialize_weights(module: nn.Module) -> None:
    """Sets convolutions and linear layers to N(0, 2 / fan_out), norms to one and zero."""
    if isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / module.out_features))
    elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
        nn.init.ones_(module.weight)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def run_stages(stages: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    """Runs the stages in order; returns the output of each."""
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return maps
