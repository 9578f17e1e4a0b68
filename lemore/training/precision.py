"""Half precision where a kernel bears it, and full precision where it does not.

oneDNN's gradient of a depthwise, dilated convolution's weights is wrong in bfloat16 on a CPU with
channels last: on maps 32 wide and more it reads memory that nobody has written.
"""

import torch
from torch import Tensor, nn


class FullPrecisionConv2d(nn.Conv2d):
    """nn.Conv2d that computes in its weights' type, also where autocast is on."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype)).to(input.dtype)


def spare_dilated(model: nn.Module) -> None:
    """Every grouped, dilated convolution computes in full precision from now on."""
    for module in model.modules():
        if type(module) is nn.Conv2d and module.groups > 1 and max(module.dilation) > 1:
            module.__class__ = FullPrecisionConv2d
