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
from lemore.training.average import Average
from lemore.training.backward import backward
from lemore.training.optim import set_learning_rate
from lemore.training.step import FiniteSteps

log = logging.getLogger(__name__)
LOG_EVERY = 10


@dataclass(frozen=True)
class Job:
    """What the loop needs. `batches(start)` yields the batches from iteration `start` on;
    `loss(model, batch)` gives a scalar; `record(iteration, metrics)` keeps a row of metrics;
    `validate(model)` gives metrics to record; `stop()` says whether to save and leave."""

    name: str
    model: nn.Module
    optimizer: Any
    learning_rate: Callable[[int], float]
    batches: Callable[[int], Iterable[dict[str, Tensor]]]
    loss: Callable[[nn.Module, dict[str, Tensor]], Tensor]
    iterations: int
    seed: int
    checkpoints: Checkpoints
    checkpoint_every: int
    record: Callable[[int, dict[str, float]], None]
    stop: Callable[[], bool]
    validate: Callable[[nn.Module], dict[str, float]] | None = None
    validate_every: int = 0
    rank: int = 0
    samples: Callable[[int], list[str]] = lambda iteration: []  # names of a global batch
    wrapped: nn.Module | None = None  # the model as called in training (DDP), if not `model` itself
    micro_batch: int = 0  # see `backward`
    scaler: GradScaler = field(default_factory=lambda: GradScaler(enabled=False))
    average: Average | None = None  # of the weights, if it is what counts in the end

    @property
    def kept(self) -> nn.Module:
        """The network that is evaluated and kept."""
        return self.average.module if self.average is not None else self.model


class Trained(NamedTuple):
    """The iteration that a training started from, and how many steps it left out in all."""

    resumed_at: int
    skipped_steps: int


def train(job: Job) -> Trained:
    """Trains to the end, from the newest checkpoint if there is one.

    Returns when the last checkpoint is on disk. Raises Stopped after saving when `job.stop()` says
    so, FloatingPointError when the loss or its gradient is not finite for many steps in a row
    (single ones are left out), ValueError when workers have found different checkpoints.
    """
    model = job.model if job.wrapped is None else job.wrapped
    finite, watch = FiniteSteps(model, job.optimizer, job.iterations), Watch()
    start = resume(job, finite, watch)
    check_alike(job.checkpoints.folder, start, job.model.state_dict())
    if start < job.iterations:
        with (
            Watchdog(job.name, job.rank, job.checkpoints.folder) as watchdog,
            job.checkpoints.write_in_background(),
        ):
            run(job, model, start, finite, watch, watchdog)
    return Trained(start, finite.skipped)


def run(
    job: Job,
    model: nn.Module,
    start: int,
    finite: FiniteSteps,
    watch: "Watch",
    watchdog: Watchdog,
) -> None:
    """The steps from `start` on."""
    model.train()
    meter = Meter(job.name, job.iterations, done=start)
    watch.go_on()
    for iteration, batch in enumerate(job.batches(start), start):
        watch.data_done()
        rate = job.learning_rate(iteration)
        loss = step(job, model, batch, iteration, rate, finite)
        watch.step_done(loss)
        watchdog.start_phase("step")
        done = iteration + 1
        if done % LOG_EVERY == 0 or done == job.iterations:
            finite.read(job.samples)
            finite.check(job.name, job.checkpoints.folder / "not_finite.json")
            row = watch.row() | {"train/lr": rate, "train/skipped_steps": finite.skipped}
            job.record(done, row)
        meter.step(watch.note)
        validating = job.validate_every > 0 and done % job.validate_every == 0
        if validating:
            watchdog.start_phase("validation")
        if validating and job.validate:
            job.record(done, job.validate(job.kept))
            model.train()
        stopping = job.stop()
        due = done % job.checkpoint_every == 0 or done == job.iterations
        if due:
            watch.gather()
        if (stopping or due) and (job.rank == 0 or not validating):  # else it waits for rank 0
            watchdog.start_phase("checkpoint")
        if stopping or due:
            save(job, done, finite, watch)
        if stopping and done < job.iterations:
            raise Stopped(f"{job.name}: stopped after iteration {done}, state saved")
        watch.go_on()
    meter.close()


def step(
    job: Job,
    model: nn.Module,
    batch: dict[str, Tensor],
    iteration: int,
    rate: float,
    finite: FiniteSteps,
) -> Tensor:
    """One optimiser step, left out if it is not finite; returns the loss, detached."""
    torch.manual_seed((job.seed * 1_000_003 + iteration) * 1_009 + job.rank)
    set_learning_rate(job.optimizer, rate)
    job.optimizer.zero_grad(set_to_none=True)
    finite.before()
    loss = backward(job.loss, model, batch, job.micro_batch, job.scaler)
    finite.step(job.scaler)
    finite.after(iteration, rate, loss)
    if job.average is not None:
        job.average.follow(job.model, iteration)
    return loss


def resume(job: Job, finite: FiniteSteps, watch: "Watch") -> int:
    """Loads the newest checkpoint into model and optimiser; returns the next iteration."""
    state = job.checkpoints.load_newest()
    if state is None:
        log.info("%s: starts at iteration 0 of %d", job.name, job.iterations)
        return 0
    job.model.load_state_dict(state["model"])
    job.optimizer.load_state_dict(state["optimizer"])
    job.scaler.load_state_dict(state["scaler"])
    if job.average is not None:
        job.average.module.load_state_dict(state["average"])
    finite.load(state["finite"])
    watch.losses = state["losses"].tolist()
    log.info("%s: resumes at iteration %d of %d", job.name, state["iteration"], job.iterations)
    return state["iteration"]


def save(job: Job, iteration: int, finite: FiniteSteps, watch: "Watch") -> None:
    """Rank 0 writes model, optimiser and what belongs to them; the others have the same."""
    finite.read(job.samples)
    if job.rank == 0:
        state = {"model": job.model.state_dict(), "optimizer": job.optimizer.state_dict()}
        state |= {"scaler": job.scaler.state_dict(), "finite": finite.state()}
        state["losses"] = torch.tensor(watch.losses + [float(loss) for loss in watch.own])
        if job.average is not None:
            state["average"] = job.average.module.state_dict()
        job.checkpoints.save(iteration, state)


class Watch:
    """Means of loss and times since the last row.

    The loss stays where it is computed until a row or a checkpoint is made: to read it would make
    the host wait for the device. So on a GPU only the times of a whole row mean something.
    """

    def __init__(self) -> None:
        self.note = ""  # of the last row, for the progress line
        self.mark = time.perf_counter()
        self.clear()

    def clear(self) -> None:
        self.data = self.compute = 0.0
        self.timed = 0  # steps; those of a row that a resumed training has not made itself are not
        self.losses: list[float] = []
        self.own: list[Tensor] = []  # of this worker's share, not yet read

    def go_on(self) -> None:
        """Leaves out what has passed since the last step (validation, saving)."""
        self.mark = time.perf_counter()

    def data_done(self) -> None:
        now = time.perf_counter()
        self.data, self.mark = self.data + now - self.mark, now

    def step_done(self, loss: Tensor | None = None) -> None:
        if loss is not None:
            self.own.append(loss)
            self.timed += 1
        now = time.perf_counter()
        self.compute, self.mark = self.compute + now - self.mark, now

    def gather(self) -> None:
        """Reads the losses, means over the workers, all of which call it after the same step."""
        if not self.own:
            return
        losses = torch.stack(self.own)
        if dist.is_initialized():
            dist.all_reduce(losses)
            losses /= dist.get_world_size()
        self.losses += losses.tolist()
        self.own = []

    def row(self) -> dict[str, float]:
        self.gather()
        self.step_done()  # now that the device has finished
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        row = {"train/loss": sum(finite) / len(finite)} if finite else {}
        row |= {
            "train/seconds_per_iteration": (self.data + self.compute) / self.timed,
            "train/data_share": self.data / max(self.data + self.compute, 1e-9),
        }
        loss, share = row.get("train/loss", math.nan), row["train/data_share"]
        self.note = f"loss {loss:.3f}, data {share:.0%} of the time"
        self.clear()
        return row
