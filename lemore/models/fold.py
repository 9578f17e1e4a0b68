"""Folding for inference: fewer operations, the same output."""

import copy
from typing import TypeVar

import torch
from torch import nn

from lemore.models.layers import ConvNorm, keep_on_one_kernel

M = TypeVar("M", bound=nn.Module)


def fold(model: M, *, norms: bool = False) -> M:
    """A copy for inference, in eval mode, that computes the same with less.

    LeMoRe's nested attention sums its three query, key and value projections, batch norm
    included, into one convolution; other models have nothing of that kind. With `norms`, every
    batch norm that directly follows a convolution is taken into it too, in any model.
    """
    folded = copy.deepcopy(model).eval()
    with torch.no_grad():
        for module in list(folded.modules()):
            fold_projections = getattr(module, "fold_projections", None)
            if callable(fold_projections):
                fold_projections()
        if norms:
            _fold_norms(folded)
    return folded


def _fold_norms(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, ConvNorm):
            module.fold()
        if isinstance(module, nn.Conv2d) and module.weight.device.type == "cpu":
            keep_on_one_kernel(module)
