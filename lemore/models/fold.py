"""Folding for inference: fewer operations, the same output."""

import copy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def fold(model: M) -> M:
    """A copy in which every layer that can has folded what inference need not repeat.

    LeMoRe's nested attention sums its three query, key and value projections, batch norm
    included, into one convolution. Other models are copied as they are.
    """
    folded = copy.deepcopy(model).eval()
    with torch.no_grad():
        for module in folded.modules():
            layer_fold = getattr(module, "fold", None)
            if layer_fold is not None:
                layer_fold()
    return folded
