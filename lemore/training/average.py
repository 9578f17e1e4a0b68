"""Running average of the weights (EMA), which is then what is evaluated and kept."""

import copy
from itertools import chain

import torch
from torch import Tensor, nn


class Average:
    """a <- d a + (1 - d) w over all weights and BatchNorm's statistics, after every step.

    d is min(decay, (1 + i) / (10 + i)) at iteration i, as TensorFlow's average has it, so that a
    short training is not held to its first weights. torch's AveragedModel would make the host wait
    for a GPU at every step, and average counters.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, model: nn.Module, iteration: int) -> None:
        decay = min(self.decay, (1 + iteration) / (10 + iteration))
        pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))
        for counter, other in (pair for pair in pairs if not pair[0].is_floating_point()):
            counter.copy_(other)
        own, followed = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(own, followed, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]


def _tensors(model: nn.Module) -> chain[Tensor]:
    return chain(model.parameters(), model.buffers())
