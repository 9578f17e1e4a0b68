"""The parts of a training step: gradient, guard against non-finite values, average of the weights.

A step whose loss or gradient is not finite is skipped on the device, counted and explained.
Nothing waits for the device: the optimiser's own kernel skips an update where `found_inf` is 1 (as
it does for mixed precision), and the host reads the flags with the next row of metrics. Where all
is finite, no bit of any number changes.
"""

import copy
import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from lemore.runtime.files import write_json
from lemore.training.optim import listwise

log = logging.getLogger(__name__)
MOST_IN_A_ROW = 50
Batch = dict[str, Tensor]


def add_gradient(
    loss: Callable[[nn.Module, Batch], Tensor],
    model: nn.Module,
    batch: Batch,
    micro_batch: int,
    scaler: GradScaler,
) -> Tensor:
    """Adds the gradient of `loss(model, batch)`, a mean over the batch; returns the loss, detached.

    The batch is taken in parts of at most `micro_batch` samples (0: whole), each weighted by its
    size. Workers average their gradients after the last part only.
    """
    parts = split_batch(batch, micro_batch)
    skip_averaging = getattr(model, "no_sync", nullcontext)  # of several workers
    losses = []
    for part in parts:
        with skip_averaging() if part is not parts[-1] else nullcontext():
            mean = loss(model, part)
            if len(parts) > 1:
                mean = mean * (_count_samples(part) / _count_samples(batch))
            scaler.scale(spread_nan(mean)).backward()
        losses.append(mean.detach())
    return torch.stack(losses).sum()


def split_batch(batch: Batch, micro_batch: int) -> list[Batch]:
    """Splits a batch into parts of at most `micro_batch` samples, in order."""
    if not micro_batch or _count_samples(batch) <= micro_batch:
        return [batch]
    columns = {name: values.split(micro_batch) for name, values in batch.items()}
    return [dict(zip(columns, parts, strict=True)) for parts in zip(*columns.values(), strict=True)]


def _count_samples(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def spread_nan(loss: Tensor) -> Tensor:
    """Returns the scalar itself, with a gradient that is NaN everywhere if it is not finite."""
    return loss * torch.ones_like(loss).where(loss.detach().isfinite(), torch.nan)


class FiniteSteps:
    """Keeps steps that are not finite away from weights, optimiser and BatchNorm's statistics.

    `remember()`, the gradient of `spread_nan(loss)`, `update(scaler)` and `finish(...)` make a
    step. All workers leave out the same steps, since each adds its NaN to the averaged gradient.
    clip_norm: longest gradient of all tensors together, to which longer ones are shortened; 0: off.
    """

    def __init__(
        self, model: nn.Module, optimizer: Any, iterations: int, clip_norm: float = 0.0
    ) -> None:
        assert getattr(optimizer, "_step_supports_amp_scaling", False), "ignores found_inf"
        self.optimizer, self.most = optimizer, min(MOST_IN_A_ROW, iterations)
        self.clip_norm = clip_norm
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
        statistics = [b for norm in norms for b in norm.buffers(recurse=False)]
        kinds = {b.dtype for b in statistics}  # float32 of one dimension, int64 of none
        self.statistics = [[b for b in statistics if b.dtype == kind] for kind in kinds]
        self.before: list[Tensor] = []  # the statistics of each kind, joined
        self.bad = torch.zeros(())
        self.steps: list[tuple[int, float, Tensor, Tensor]] = []  # not yet read by the host
        self.skipped = self.in_a_row = 0
        self.last: list[dict[str, Any]] = []  # skipped steps

    def remember(self) -> None:
        """Remembers BatchNorm's statistics, which the forward pass changes."""
        self.before = [_join(group) for group in self.statistics]

    def update(self, scaler: GradScaler) -> None:
        """Takes the optimiser's step, unless the gradient is not finite."""
        scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = get_total_norm(gradients)
        self.bad = norm.isfinite().logical_not().float()
        if self.clip_norm:
            clip_grads_with_norm_(self.parameters, self.clip_norm, norm)
        if scaler.is_enabled():  # it skips such a step itself, and lowers its scale
            scaler.step(self.optimizer)
            scaler.update()
        else:
            self.optimizer.found_inf = self.bad
            self.optimizer.step()

    def finish(self, iteration: int, rate: float, loss: Tensor) -> None:
        """Restores the statistics if the step was skipped; records whether it was."""
        for group, before in zip(self.statistics, self.before, strict=True):
            kept = before.where(self.bad > 0, _join(group))
            parts = kept.split([len(b) for b in group]) if group[0].dim() else kept.unbind()
            listwise._foreach_copy_(group, parts)
        self.steps.append((iteration, rate, loss.detach(), self.bad))

    def read(self, samples: Callable[[int], list[str]]) -> None:
        """Waits for the device and counts the steps skipped since the last reading."""
        if not self.steps:
            return
        flags = torch.stack([bad for *_, bad in self.steps]).tolist()
        for (iteration, rate, loss, _), bad in zip(self.steps, flags, strict=True):
            self.in_a_row = self.in_a_row + 1 if bad else 0
            if not bad:
                continue
            self.skipped += 1
            share = str(float(loss))  # "nan", "inf" or a number, for this worker's share
            step: dict[str, Any] = {"iteration": iteration, "learning_rate": rate, "loss": share}
            step["samples"] = samples(iteration)  # of the global batch
            self.last = [*self.last[-MOST_IN_A_ROW + 1 :], step]
            log.warning(
                "iteration %d: loss %s or its gradient is not finite, step left out (%d so far)",
                *(iteration, share, self.skipped),
            )
        self.steps.clear()

    def check(self, name: str, record: Path) -> None:
        """FloatingPointError after too many steps in a row, which are then written to `record`."""
        if self.in_a_row < self.most:
            return
        write_json(record, self.last)
        raise FloatingPointError(
            f"{name}: loss or gradient was not finite for {self.in_a_row} steps in a row; the "
            f"last checkpoint holds the weights from before, {record} the samples. Lower train.lr, "
            "lengthen train.warmup_iterations, or look at the samples"
        )

    def state_dict(self) -> dict[str, int]:
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]


def _join(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors) if tensors[0].dim() else torch.stack(tensors)


class Average:
    """Running average of weights and BatchNorm's statistics (EMA), which is evaluated and kept.

    a <- d a + (1 - d) w after every step, where d is min(decay, (1 + i) / (10 + i)) at iteration i,
    as in TensorFlow, so that the first weights do not dominate the average of a short training.
    torch's AveragedModel would make the host wait for a GPU at every step, and average counters.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, model: nn.Module, iteration: int) -> None:
        decay = min(self.decay, (1 + iteration) / (10 + iteration))
        own, followed, counters, counted = [], [], [], []
        states = (self.module.state_dict().values(), model.state_dict().values())
        for mine, theirs in zip(*states, strict=True):
            average = mine.is_floating_point()
            (own if average else counters).append(mine)
            (followed if average else counted).append(theirs)
        listwise._foreach_lerp_(own, followed, 1 - decay)
        if counters:
            listwise._foreach_copy_(counters, counted)


class FullPrecisionConv2d(nn.Conv2d):
    """nn.Conv2d that computes in its weights' type, also where autocast is on."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype)).to(input.dtype)


def spare_dilated(model: nn.Module) -> None:
    """Makes every grouped, dilated convolution compute in full precision.

    oneDNN's gradient of such a convolution's weights is wrong in bfloat16 on a CPU with channels
    last: on maps 32 wide and more it reads uninitialised memory.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d and module.groups > 1 and max(module.dilation) > 1:
            module.__class__ = FullPrecisionConv2d
