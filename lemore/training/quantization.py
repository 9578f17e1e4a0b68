"""Quantisation-aware training: layers compute with inputs and weights rounded to 8 bits.

What is trained and kept are ordinary tensors in float32, from which INT8 files are then made as
from any network. Rounding passes gradients on within its range, and none beyond it (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
2018).
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn

SMALLEST = torch.finfo(torch.float32).tiny  # of a scale: what is 0 everywhere has a range too


def round_weight(weight: Tensor) -> Tensor:
    """Rounds a weight, output channels first, to -127..127 times the channel's own scale.

    A BatchNorm that is folded into it later scales each channel, and so changes no rounding.
    """
    scale = weight.detach().flatten(1).abs().amax(1).div(127).clamp(min=SMALLEST)
    zero = torch.zeros_like(scale)  # an integer would be read by the host, to check it
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)


def round_input(x: Tensor) -> Tensor:
    """Rounds a layer's input B ... to 256 values, one of which is 0.

    Their range is the mean of the samples' extremes, as where INT8 files are calibrated: of those
    that the workers see at once, so that a training that is resumed needs no older ranges.
    """
    with torch.no_grad():
        inside = tuple(range(1, x.dim()))
        extremes = torch.stack([x.amin(inside).mean(), x.amax(inside).mean()])
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(extremes)
            extremes /= dist.get_world_size()
        low, high = extremes[0].clamp(max=0), extremes[1].clamp(min=0)
        scale = ((high - low) / 255).clamp(min=SMALLEST)
        zero = (-low / scale).round().to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)


class RoundedConv2d(nn.Conv2d):
    """nn.Conv2d that rounds its input and weight in training, and there computes in float32."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            x, weight = round_input(input.float()), round_weight(self.weight)
            return self._conv_forward(x, weight, self.bias)


class RoundedLinear(nn.Linear):
    """nn.Linear that rounds as `RoundedConv2d` does."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            x, weight = round_input(input.float()), round_weight(self.weight)
            return nn.functional.linear(x, weight, self.bias)


def round_layers(model: nn.Module) -> None:
    """Makes all convolutions and linear layers of `model` round in training."""
    for module in model.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = RoundedConv2d
        elif type(module) is nn.Linear:
            module.__class__ = RoundedLinear
