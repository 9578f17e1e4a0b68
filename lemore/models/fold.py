"""Folding for inference: fewer operations, the same output."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from lemore.models.axis_mixing import AxisMixing, mix_axis
from lemore.models.layers import ConvNorm, choose_kernel

M = TypeVar("M", bound=nn.Module)


def fold(model: M, *, norms: bool = False, device: str = "cpu") -> M:
    """Returns a copy for inference, in eval mode, that computes the same with fewer operations.

    LeMoRe's nested attention sums its three query, key and value projections, batch norm
    included, into one convolution; other models have no such projections. With `norms`, every
    batch norm that directly follows a convolution is folded into it too, in any model, and the
    convolutions get what is fast on that kind of `device`.
    """
    folded = copy.deepcopy(model).eval()
    with torch.no_grad():
        for module in list(folded.modules()):
            fold_projections = getattr(module, "fold_projections", None)
            if callable(fold_projections):
                fold_projections()
        for module in folded.modules() if norms else ():
            if isinstance(module, ConvNorm):
                module.fold()
            if isinstance(module, nn.Conv2d):
                choose_kernel(module, device)
    return folded


def bake(model: M) -> M:
    """Returns a copy for images of the training size alone: its mixing matrices are constants.

    An exported file then has plain matrix products, and nothing depends on the image's size.
    """
    baked = copy.deepcopy(model)
    for module in list(baked.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, AxisMixing):
                setattr(module, name, FixedMixing(child))
    return baked


class FixedMixing(nn.Module):
    """An `AxisMixing` at its training length."""

    def __init__(self, mixing: AxisMixing) -> None:
        super().__init__()
        self.axis, self.weight = mixing.axis, mixing.weight

    def forward(self, x: Tensor) -> Tensor:
        if self.axis == "height" and torch.compiler.is_exporting():
            return torch.matmul(self.weight, x)  # one matrix for all planes, without copies of it
        return mix_axis(x, self.weight, self.axis)
