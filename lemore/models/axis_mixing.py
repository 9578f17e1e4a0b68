"""One learned matrix that mixes the positions along one image axis, at any image size.

LeMoRe's frontal and lateral views contract width or height with a matrix M whose size m belongs
to the training image. At another length n the features would be resized to m, mixed and resized
back; all three steps are linear, so they are one matrix M' = U M D, with U (n x m) and D (m x n)
the 1-D resize operators. At n == m it is M itself. The same formula converts a checkpoint from one
training size to another.
"""

import functools
import logging
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

log = logging.getLogger(__name__)

CACHED_LENGTHS = 16  # per matrix; a test set has few distinct image sizes


@functools.lru_cache(maxsize=256)
def make_resize_operator(to: int, length: int) -> np.ndarray:
    """Makes the matrix `to` x `length` (float64) that resizes a signal; its rows sum to 1.

    It averages areas when shrinking and is linear (align_corners False) when growing, as
    `F.interpolate` with mode `area` and `linear`.
    """
    operator = np.zeros((to, length))
    rows = np.arange(to)
    if to < length:
        for row in rows:
            first, last = row * length // to, -(-(row + 1) * length // to)
            operator[row, first:last] = 1.0 / (last - first)
        return operator
    position = np.maximum((rows + 0.5) * length / to - 0.5, 0.0)
    low = position.astype(np.int64)
    weight = position - low
    np.add.at(operator, (rows, low), 1.0 - weight)
    np.add.at(operator, (rows, np.minimum(low + 1, length - 1)), weight)
    return operator


def resample_matrix(matrix: Tensor, to: int) -> Tensor:
    """Returns U M D, an m x m matrix resampled to `to` x `to`; differentiable."""
    length = matrix.shape[0]
    up = torch.as_tensor(make_resize_operator(to, length), dtype=matrix.dtype, device=matrix.device)
    down = torch.as_tensor(
        make_resize_operator(length, to), dtype=matrix.dtype, device=matrix.device
    )
    return up @ matrix @ down


class AxisMixing(nn.Module):
    """y[..., i] = sum_j M'[i, j] x[..., j] along the width or the height of B C H W.

    length: positions along the axis at the training size. M starts at zero, so that the view
    contributes nothing before it has learned something.
    """

    def __init__(self, length: int, axis: str) -> None:
        super().__init__()
        assert axis in ("width", "height"), axis
        self.axis = axis
        self.weight = nn.Parameter(torch.zeros(length, length))
        self.cache: OrderedDict[tuple, Tensor] = OrderedDict()
        self.register_load_state_dict_pre_hook(_carry_over)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[-1] if self.axis == "width" else x.shape[-2]
        return mix_axis(x, self.get_matrix(length), self.axis)

    def get_matrix(self, length: int) -> Tensor:
        """Returns M' for an axis of `length`; cached only where no gradient is wanted."""
        if length == self.weight.shape[0]:
            return self.weight
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return resample_matrix(self.weight, length)
        # The version counter changes with every in-place update of the weight.
        version = None if self.weight.is_inference() else self.weight._version
        key = (length, self.weight.device, self.weight.dtype, version)
        if key not in self.cache:
            self.cache[key] = resample_matrix(self.weight, length)
            if len(self.cache) > CACHED_LENGTHS:
                self.cache.popitem(last=False)
        return self.cache[key]

    def clear_cache(self) -> None:
        self.cache.clear()

    def train(self, mode: bool = True) -> "AxisMixing":
        self.clear_cache()
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "cache": OrderedDict()}

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, axis={self.axis}"


def _carry_over(module: AxisMixing, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Resamples a matrix of another training size to this one's before it is loaded."""
    module.clear_cache()
    key = prefix + "weight"
    found = state_dict.get(key)
    if found is None or found.dim() != 2 or found.shape[0] != found.shape[1]:
        return  # load_state_dict reports it
    length = module.weight.shape[0]
    if found.shape[0] != length:
        log.info("%s: %d x %d carried over to %d (U M D)", key, *found.shape, length)
        state_dict[key] = resample_matrix(found.detach(), length)


def mix_axis(x: Tensor, matrix: Tensor, axis: str) -> Tensor:
    """Mixes B C H W along "width" or "height"; keeps the memory format, so that nothing converts.

    The height is mixed by batched products over an expanded matrix: `matmul` would copy the
    features in training.
    """
    b, c, h, w = x.shape
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    if axis == "width":
        if channels_last:
            return torch.matmul(matrix, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return F.linear(x, matrix)
    if channels_last:
        rows = x.permute(0, 2, 3, 1).reshape(b, h, w * c)
        return torch.bmm(matrix.expand(b, h, h), rows).view(b, h, w, c).permute(0, 3, 1, 2)
    planes = x.reshape(b * c, h, w)
    return torch.bmm(matrix.expand(b * c, h, h), planes).view(b, c, h, w)
