"""Steps whose loss or gradient is not finite: left out on the device, counted and explained.

Nothing waits for the device. The optimiser's own kernel leaves an update out where `found_inf` is 1
(as it does for mixed precision), and the host reads the flags with the next row of metrics. Where
all is finite no number differs by a bit.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import get_total_norm

from lemore.runtime.files import write_json

log = logging.getLogger(__name__)
MOST_IN_A_ROW = 50


@dataclass(frozen=True)
class Skipped:
    """A step that was left out: its iteration, learning rate, loss ("nan", "inf", a number, of
    this worker's share) and the samples of its global batch."""

    iteration: int
    learning_rate: float
    loss: str
    samples: list[str]


def spread(loss: Tensor) -> Tensor:
    """The scalar itself; if it is not finite, its gradient is NaN everywhere too."""
    return loss * torch.ones_like(loss).where(loss.detach().isfinite(), torch.nan)


class FiniteSteps:
    """Keeps steps that are not finite away from weights, optimiser and BatchNorm's statistics.

    `before()`, the gradient of `spread(loss)`, `step(scaler)` and `after(...)` make a step. All
    workers leave out the same steps, since each of them adds its NaN to the averaged gradient.
    """

    def __init__(self, model: nn.Module, optimizer: Any, iterations: int):
        self.optimizer, self.most = optimizer, min(MOST_IN_A_ROW, iterations)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
        statistics = [b for norm in norms for b in norm.buffers(recurse=False)]
        kinds = {b.dtype for b in statistics}
        self.statistics = [[b for b in statistics if b.dtype == kind] for kind in kinds]
        self.kept: list[Tensor] = []
        self.bad = torch.zeros(())
        self.steps: list[tuple[int, float, Tensor, Tensor]] = []  # not yet read by the host
        self.skipped = self.in_a_row = 0
        self.last: list[Skipped] = []

    def before(self) -> None:
        """Remembers BatchNorm's statistics, which the forward pass changes."""
        self.kept = [torch.cat([b.reshape(-1) for b in group]) for group in self.statistics]

    def step(self, scaler: GradScaler) -> None:
        """The optimiser's step, unless the gradient is not finite."""
        scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        self.bad = get_total_norm(gradients).isfinite().logical_not().float()
        if scaler.is_enabled():  # it leaves such a step out itself, and lowers its scale
            scaler.step(self.optimizer)
            scaler.update()
        elif self.optimizer.defaults.get("fused"):
            self.optimizer.found_inf = self.bad
            self.optimizer.step()
        elif not self.bad:  # the host waits: only a fused kernel heeds `found_inf`
            self.optimizer.step()

    def after(self, iteration: int, rate: float, loss: Tensor) -> None:
        """Puts the statistics of a step that was left out back; notes how the step went."""
        for group, kept in zip(self.statistics, self.kept, strict=True):
            now = torch.cat([b.reshape(-1) for b in group])
            parts = kept.where(self.bad > 0, now).split([b.numel() for b in group])
            shaped = [part.view_as(b) for part, b in zip(parts, group, strict=True)]
            torch._foreach_copy_(group, shaped)  # pyright: ignore[reportPrivateImportUsage]
        self.steps.append((iteration, rate, loss.detach(), self.bad))

    def read(self, samples: Callable[[int], list[str]]) -> None:
        """Waits for the device and counts the steps left out since the last reading."""
        if not self.steps:
            return
        flags = torch.stack([bad for *_, bad in self.steps]).tolist()
        for (iteration, rate, loss, _), bad in zip(self.steps, flags, strict=True):
            self.in_a_row = self.in_a_row + 1 if bad else 0
            if not bad:
                continue
            self.skipped += 1
            step = Skipped(iteration, rate, str(float(loss)), samples(iteration))
            self.last = [*self.last[-MOST_IN_A_ROW + 1 :], step]
            log.warning(
                "iteration %d: loss %s or its gradient is not finite, step left out (%d so far)",
                *(iteration, step.loss, self.skipped),
            )
        self.steps.clear()

    def check(self, name: str, record: Path) -> None:
        """FloatingPointError after too many steps in a row, which `record` then tells of."""
        if self.in_a_row < self.most:
            return
        write_json(record, [asdict(step) for step in self.last])
        raise FloatingPointError(
            f"{name}: loss or gradient was not finite for {self.in_a_row} steps in a row; the "
            f"last checkpoint holds the weights from before, {record} the samples. Lower train.lr, "
            "lengthen train.warmup_iterations, or look at the samples"
        )

    def state(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load(self, state: dict[str, int]) -> None:
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]
