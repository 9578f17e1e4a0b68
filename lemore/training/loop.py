"""The training loop, one for pretraining and fine-tuning, with or without Ray.

Knows no dataset, no model and no path: it gets batches, a loss and a place for checkpoints.
Random numbers of an iteration follow from (seed, iteration, rank), so a resumed run repeats them.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lemore.progress import Meter
from lemore.training.checkpoint import Checkpoints
from lemore.training.optim import set_learning_rate
from lemore.training.process import Stopped

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
    wrapped: nn.Module | None = None  # the model as called in training (DDP), if not `model` itself


def train(job: Job) -> int:
    """Trains to the end, from the newest checkpoint if there is one.

    Returns the iteration it started from. Raises Stopped after saving when `job.stop()` says so,
    FloatingPointError at a loss that is not finite.
    """
    start = resume(job)
    if start == job.iterations:
        return start
    model = job.wrapped or job.model
    model.train()
    meter = Meter(job.name, job.iterations, done=start)
    watch = Watch()
    for iteration, batch in enumerate(job.batches(start), start):
        watch.data_done()
        rate = job.learning_rate(iteration)
        loss = step(job, model, batch, iteration, rate)
        watch.step_done(loss)
        done = iteration + 1
        if done % LOG_EVERY == 0 or done == job.iterations:
            row = watch.row(job, iteration) | {"train/lr": rate}
            job.record(done, row)
        meter.step(f"loss {watch.last:.3f}")
        if job.validate and job.validate_every and done % job.validate_every == 0:
            job.record(done, job.validate(job.model))
            model.train()
        stopping = job.stop()
        if stopping or done % job.checkpoint_every == 0 or done == job.iterations:
            save(job, done)
        if stopping and done < job.iterations:
            raise Stopped(f"{job.name}: stopped after iteration {done}, state saved")
        watch.go_on()
    meter.close()
    return start


def step(
    job: Job, model: nn.Module, batch: dict[str, Tensor], iteration: int, rate: float
) -> Tensor:
    """One optimiser step; returns the loss, detached."""
    torch.manual_seed((job.seed * 1_000_003 + iteration) * 1_009 + job.rank)
    set_learning_rate(job.optimizer, rate)
    job.optimizer.zero_grad(set_to_none=True)
    loss = job.loss(model, batch)
    loss.backward()
    job.optimizer.step()
    return loss.detach()


def resume(job: Job) -> int:
    """Loads the newest checkpoint into model and optimiser; returns the next iteration."""
    state = job.checkpoints.load_newest()
    if state is None:
        log.info("%s: starts at iteration 0 of %d", job.name, job.iterations)
        return 0
    job.model.load_state_dict(state["model"])
    job.optimizer.load_state_dict(state["optimizer"])
    log.info("%s: resumes at iteration %d of %d", job.name, state["iteration"], job.iterations)
    return state["iteration"]


def save(job: Job, iteration: int) -> None:
    """Rank 0 writes model and optimiser; the others have the same."""
    if job.rank == 0:
        state = {"model": job.model.state_dict(), "optimizer": job.optimizer.state_dict()}
        job.checkpoints.save(iteration, state)


class Watch:
    """Means of loss and times since the last row."""

    def __init__(self) -> None:
        self.last = float("nan")
        self.mark = time.perf_counter()
        self.clear()

    def clear(self) -> None:
        self.data = self.compute = self.loss = 0.0
        self.steps = 0

    def go_on(self) -> None:
        """Leaves out what has passed since the last step (validation, saving)."""
        self.mark = time.perf_counter()

    def data_done(self) -> None:
        now = time.perf_counter()
        self.data, self.mark = self.data + now - self.mark, now

    def step_done(self, loss: Tensor) -> None:
        self.last = float(loss)
        now = time.perf_counter()
        self.compute, self.mark = self.compute + now - self.mark, now
        self.loss, self.steps = self.loss + self.last, self.steps + 1

    def row(self, job: Job, iteration: int) -> dict[str, float]:
        mean = self.loss / self.steps
        if mean != mean or mean in (float("inf"), float("-inf")):
            raise FloatingPointError(
                f"{job.name}: the loss is {mean} near iteration {iteration}; the last checkpoint "
                "is kept. Lower train.lr or lengthen train.warmup_iterations"
            )
        row = {
            "train/loss": mean,
            "train/seconds_per_iteration": (self.data + self.compute) / self.steps,
            "train/data_share": self.data / max(self.data + self.compute, 1e-9),
        }
        self.clear()
        return row
