"""Keeps the weights of the best validation, and says when no better one has come for long."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Best:
    """The weights of the best validation so far, by one of its measures; the first of equal ones.

    patience: validations in a row without a better one after which the training is over; 0: never.
    """

    def __init__(self, measure: str, patience: int) -> None:
        self.measure, self.patience = measure, patience
        self.value, self.iteration, self.last, self.waited = -1.0, 0, 0, 0
        self.weights: dict[str, Tensor] = {}

    @property
    def is_over(self) -> bool:
        return 0 < self.patience <= self.waited

    def consider(self, iteration: int, metrics: Mapping[str, Any], model: nn.Module) -> None:
        """Copies the model's weights to the host if its validation is better than all before."""
        value, self.last = metrics.get(self.measure), iteration
        if value is None or value <= self.value:  # None: the split has no label that counts
            self.waited += 1
            return
        self.value, self.iteration, self.waited = value, iteration, 0
        state = model.state_dict().items()
        self.weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state}

    def restore(self, model: nn.Module) -> None:
        """Loads the best weights; none are there on other workers than the first."""
        if self.weights:
            model.load_state_dict(self.weights)

    def describe(self) -> dict[str, Any]:
        """Returns what run.json records: the iteration that was kept and why."""
        kept, value = self.last, None  # where no validation had a label that counts
        why = f"the last, since no label gave {self.measure}"
        if self.iteration:
            kept, value = self.iteration, self.value
            why = f"the best by {self.measure} ({value:.4f}), chosen on split val"
        text = f"weights of iteration {kept}, {why}; trained to iteration {self.last}"
        return {
            "iteration": kept,
            "measure": self.measure,
            "value": value,
            "split": "val",
            "trained": self.last,
            "text": text,
        }

    def state_dict(self) -> dict[str, Any]:
        numbers = {"value": self.value, "iteration": self.iteration}
        return numbers | {"last": self.last, "waited": self.waited, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.value, self.iteration = state["value"], state["iteration"]
        self.last, self.waited = state["last"], state["waited"]
        self.weights = dict(state["weights"])


def agree(decision: bool, device: torch.device) -> bool:
    """Returns the first worker's decision, for which all others wait."""
    if not dist.is_initialized():
        return decision
    flag = torch.tensor(float(decision), device=device)
    dist.broadcast(flag, 0)
    return bool(flag)
