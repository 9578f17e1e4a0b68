"""RMSprop as TensorFlow computes it, the optimiser of the lineage's ImageNet training.

timm's "rmsproptf": epsilon is added under the root, the mean of squares starts at one, and the
momentum gathers updates that are already multiplied by the learning rate. torch's own RMSprop
differs in all three.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

ALPHA, MOMENTUM, EPS = 0.9, 0.9, 1e-3


class RMSpropTF(Optimizer):
    """s <- s + (1 - alpha)(g^2 - s), m <- momentum m + lr g / sqrt(s + eps), w <- w - m.

    The gradient g includes weight_decay * w.
    """

    def __init__(self, groups: list[dict[str, Any]]):
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group["lr"], group["weight_decay"])

    def _update(self, weight: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[weight]
        if not state:
            state |= {"square": torch.ones_like(weight), "momentum": torch.zeros_like(weight)}
        square, momentum = state["square"], state["momentum"]
        gradient = gradient.add(weight, alpha=decay)
        square.lerp_(gradient.square(), 1 - ALPHA)
        momentum.mul_(MOMENTUM).addcdiv_(gradient, square.add(EPS).sqrt_(), value=rate)
        weight.sub_(momentum)
