"""The training loop, one for pretraining and fine-tuning, with or without Ray.

Knows no dataset, no model and no path: it gets batches, a loss and a place for checkpoints.
Random numbers of an iteration follow from (seed, iteration, rank), so a resumed run repeats them.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from lemore.runtime.checkpoint import Checkpoints, check_alike
from lemore.runtime.process import Stopped
from lemore.runtime.progress import Meter
from lemore.runtime.watchdog import Watchdog
from lemore.training.best import Best, agree
from lemore.training.optim import set_learning_rate
from lemore.training.step import Average, Batch, FiniteSteps, add_gradient

log = logging.getLogger(__name__)
LOG_EVERY = 10
MOST_WAITING = 0.2  # of the time, for batches, while the device has nothing to do
WAITING_ROWS = 5  # in a row, before it is told: loader processes need a while to start


class Outcome(NamedTuple):
    """The iteration that a training started from, how many steps it skipped in all, and the seconds
    of its steps in this process, validation and saving included."""

    resumed_at: int
    skipped_steps: int
    seconds: float


@dataclass
class TrainingLoop:
    """A training of `model`, from its newest checkpoint to the end.

    batches(start) yields the batches from iteration `start` on; loss(model, batch) is a scalar;
    record(iteration, metrics) keeps a row of metrics; validate(model) returns metrics to record;
    stop() returns whether to save and leave; samples(iteration) names those of a global batch.
    wrapped: the model as it is called in training (DDP, compiled), if not `model` itself.
    micro_batch: see `add_gradient`. average: of the weights, if that is evaluated and kept.
    clip_norm: see `FiniteSteps`. best: of the validations, if its weights are to be kept; it may
    end the training, and the last iteration is validated too.
    """

    name: str
    model: nn.Module
    optimizer: Any
    learning_rate: Callable[[int], float]
    batches: Callable[[int], Iterable[Batch]]
    loss: Callable[[nn.Module, Batch], Tensor]
    iterations: int
    seed: int
    checkpoints: Checkpoints
    checkpoint_every: int
    record: Callable[[int, dict[str, float]], None]
    stop: Callable[[], bool]
    validate: Callable[[nn.Module], dict[str, float]] | None = None
    validate_every: int = 0
    rank: int = 0
    samples: Callable[[int], list[str]] = lambda iteration: []
    wrapped: nn.Module | None = None
    micro_batch: int = 0
    scaler: GradScaler = field(default_factory=lambda: GradScaler(enabled=False))
    average: Average | None = None
    clip_norm: float = 0.0
    best: Best | None = None

    def __post_init__(self) -> None:
        self.called = self.model if self.wrapped is None else self.wrapped
        self.finite = FiniteSteps(self.called, self.optimizer, self.iterations, self.clip_norm)
        self.means = RunningMeans(warns=next(self.model.parameters()).device.type != "cpu")

    @property
    def kept(self) -> nn.Module:
        """The network that is evaluated and kept."""
        return self.average.module if self.average is not None else self.model

    def train(self) -> Outcome:
        """Trains to the end or until `best` is over; returns when the last checkpoint is on disk.

        Raises Stopped after saving when `stop()` says so, FloatingPointError when the loss or its
        gradient is not finite for many steps in a row (single ones are left out), ValueError when
        workers have found different checkpoints.
        """
        start = self._resume()
        folder = self.checkpoints.folder
        check_alike(folder, start, self.model.state_dict())
        begin = time.monotonic()
        if start < self.iterations and not (self.best and self.best.is_over):
            with (
                Watchdog(self.name, self.rank, folder) as watchdog,
                self.checkpoints.write_in_background(),
            ):
                self.run(start, watchdog)
        return Outcome(start, self.finite.skipped, round(time.monotonic() - begin, 1))

    def run(self, start: int, watchdog: Watchdog) -> None:
        """Takes the steps from `start` on; validates and saves when due."""
        self.called.train()
        meter = Meter(self.name, self.iterations, done=start)
        self.means.restart_clock()
        for iteration, batch in enumerate(self.batches(start), start):
            self.means.end_data()
            rate = self.learning_rate(iteration)
            self.means.end_step(self.step(batch, iteration, rate))
            watchdog.start_phase("step")
            done = iteration + 1
            if done % LOG_EVERY == 0 or done == self.iterations:
                self.finite.read(self.samples)
                self.finite.check(self.name, self.checkpoints.folder / "not_finite.json")
                row = self.means.take_row() | {"train/lr": rate}
                self.record(done, row | {"train/skipped_steps": self.finite.skipped})
                self.means.watch_waiting(self.name)
            meter.step(self.means.note)
            validating = self._is_validated(done)
            if validating:
                watchdog.start_phase("validation")
                if self.validate:
                    self._judge(done, self.validate(self.kept))
            over = validating and self._is_over()
            stopping = self.stop()
            due = done % self.checkpoint_every == 0 or done == self.iterations or over
            if due:
                self.means.gather_losses()
            if stopping or due:
                if self.rank == 0 or not validating:  # the others wait for rank 0
                    watchdog.start_phase("checkpoint")
                self._save(done)
            if over:
                break
            if stopping and done < self.iterations:
                raise Stopped(f"{self.name}: stopped after iteration {done}, state saved")
            self.means.restart_clock()
        meter.close()

    def _is_validated(self, done: int) -> bool:
        every = self.validate_every
        last = self.best is not None and done == self.iterations
        return every > 0 and (done % every == 0 or last)

    def _judge(self, done: int, metrics: dict[str, float]) -> None:
        self.record(done, metrics)
        if self.best is not None:
            self.best.consider(done, metrics, self.kept)
        self.called.train()

    def _is_over(self) -> bool:
        """Returns whether patience has ended, the same on all workers."""
        if self.best is None or not self.best.patience:
            return False
        return agree(self.best.is_over, next(self.model.parameters()).device)

    def step(self, batch: Batch, iteration: int, rate: float) -> Tensor:
        """Takes one optimiser step, unless it is not finite; returns the loss, detached."""
        torch.manual_seed((self.seed * 1_000_003 + iteration) * 1_009 + self.rank)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        self.finite.remember()
        loss = add_gradient(self.loss, self.called, batch, self.micro_batch, self.scaler)
        self.finite.update(self.scaler)
        self.finite.finish(iteration, rate, loss)
        if self.average is not None:
            self.average.follow(self.model, iteration)
        return loss

    def _resume(self) -> int:
        """Loads the newest checkpoint into model and optimiser; returns the next iteration."""
        state = self.checkpoints.load_newest()
        if state is None:
            log.info("%s: starts at iteration 0 of %d", self.name, self.iterations)
            return 0
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
        if self.best is not None:
            self.best.load_state_dict(state["best"])
        self.finite.load_state_dict(state["finite"])
        self.means.losses = state["losses"].tolist()
        iteration = state["iteration"]
        log.info("%s: resumes at iteration %d of %d", self.name, iteration, self.iterations)
        return iteration

    def _save(self, iteration: int) -> None:
        """Writes model, optimiser and the rest of the state on rank 0; the others have the same."""
        self.finite.read(self.samples)
        if self.rank == 0:
            state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
            state |= {"scaler": self.scaler.state_dict(), "finite": self.finite.state_dict()}
            losses = self.means.losses + [float(loss) for loss in self.means.unread]
            state["losses"] = torch.tensor(losses)
            if self.average is not None:
                state["average"] = self.average.module.state_dict()
            if self.best is not None:
                state["best"] = self.best.state_dict()
            self.checkpoints.save(iteration, state)


class RunningMeans:
    """Means of loss and times since the last row of metrics.

    The loss stays on its device until a row or a checkpoint is made: reading it would make the host
    wait for the device. So on a GPU only the times of a whole row are meaningful.
    """

    def __init__(self, warns: bool = False) -> None:
        self.warns = warns  # if the device waits, which helps only where that is no CPU
        self.note = ""  # of the last row, for the progress line
        self.mark = time.perf_counter()
        self.starved = False  # in the last row: the device waited for batches
        self.starved_rows = 0  # without one between them in which it did not
        self._clear()

    def _clear(self) -> None:
        self.data = self.compute = 0.0  # seconds
        self.timed = 0  # steps that this process has made since the last row
        self.losses: list[float] = []
        self.unread: list[Tensor] = []  # of this worker's share

    def restart_clock(self) -> None:
        """Excludes the time since the last step (validation, saving)."""
        self.mark = time.perf_counter()

    def end_data(self) -> None:
        now = time.perf_counter()
        self.data, self.mark = self.data + now - self.mark, now

    def end_step(self, loss: Tensor | None = None) -> None:
        if loss is not None:
            self.unread.append(loss)
            self.timed += 1
        now = time.perf_counter()
        self.compute, self.mark = self.compute + now - self.mark, now

    def gather_losses(self) -> None:
        """Reads the losses, means over the workers, which all call this after the same step."""
        if not self.unread:
            return
        losses = torch.stack(self.unread)
        if dist.is_initialized():
            dist.all_reduce(losses)
            losses /= dist.get_world_size()
        self.losses += losses.tolist()
        self.unread = []

    def take_row(self) -> dict[str, float]:
        """Returns the metrics since the last row and resets them."""
        self.gather_losses()
        steps = self.compute
        self.end_step()  # now that the device has finished
        total = max(self.data + self.compute, 1e-9)
        # Where the host waits for the device at the end, the device had work all the time.
        self.starved = self.data > MOST_WAITING * total and self.compute - steps < 0.05 * total
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        row = {"train/loss": sum(finite) / len(finite)} if finite else {}
        row |= {
            "train/seconds_per_iteration": (self.data + self.compute) / self.timed,
            "train/data_share": self.data / total,
        }
        loss, share = row.get("train/loss", math.nan), row["train/data_share"]
        self.note = f"loss {loss:.3f}, data {share:.0%} of the time"
        self._clear()
        return row

    def watch_waiting(self, name: str) -> None:
        """Warns once if batches have come too slowly for a GPU for some rows."""
        self.starved_rows = self.starved_rows + 1 if self.starved else 0
        if self.warns and self.starved_rows == WAITING_ROWS:
            self.warns = False
            log.warning(
                "%s: the GPU waits for batches (%s); raise loader_workers in the recipe, with as "
                "many cores (lemore plan says how many must load)",
                *(name, self.note),
            )
