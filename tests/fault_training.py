"""Trainings for tests that disturb them, in children that start within milliseconds.

A fork server has imported everything, so that a restart takes no longer than the training itself.
"""

import codecs
import itertools
import json
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import torch
import torch._dynamo  # else the first step of every child imports it
from torch import nn

import lemore.commands.evaluate
import lemore.commands.finetune
import lemore.data.loader as lemore_loader
import lemore.evaluation.segmentation as lemore_segmentation
import lemore.runtime.tracking.mlflow
import lemore.stages.workers.finetune
from lemore.cli import main
from lemore.runtime import checkpoint, files
from lemore.runtime.checkpoint import Checkpoints, hash_tensors
from lemore.runtime.provenance import list_versions
from lemore.runtime.tracking.metrics_file import MetricsFile
from lemore.runtime.worker import Worker
from lemore.training import losses, optim
from lemore.training.loop import TrainingLoop

ITERATIONS, INTERVAL = 40, 5
ROOT = Path(__file__).parents[1]


class Small(nn.Module):
    """A network in which BatchNorm, dropout and the optimiser all have something to remember."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.2))
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def batches(start: int, stop: int) -> Any:
    for i in range(start, stop):
        generator = torch.Generator().manual_seed(i)
        yield {"x": torch.randn(4, 3, 8, 8, generator=generator)}


def make_loop(folder: Path, **changes: Any) -> TrainingLoop:
    torch.manual_seed(3)
    model = Small()
    groups = optim.group_parameters(model, 0.01, {})
    checkpoints = Checkpoints(folder)
    checkpoints.remove_remains()
    newest, metrics_file = checkpoints.load_newest(), MetricsFile(folder / "metrics.jsonl")
    metrics_file.rewind(newest["iteration"] if newest else 0)
    values = {
        "name": "small",
        "model": model,
        "optimizer": optim.make_adamw(groups, (0.9, 0.999)),
        "learning_rate": lambda i: 0.01 * (1 - i / ITERATIONS),
        "batches": lambda start: batches(start, ITERATIONS),
        "loss": lambda network, batch: network(batch["x"]).square().mean(),
        "iterations": ITERATIONS,
        "seed": 3,
        "checkpoints": checkpoints,
        "checkpoint_every": INTERVAL,
        "record": metrics_file.append,
        "stop": lambda: False,
    }
    return TrainingLoop(**values | changes)


class Noise:
    """As a prepared split of 8 images."""

    task = "classification"

    def __len__(self) -> int:
        return 8

    def name(self, index: int) -> str:
        return f"image_{index}"

    def open(self, index: int) -> tuple[np.ndarray, int]:
        time.sleep(0.01)
        return np.full((4, 4, 3), index, np.uint8), index


class Crop:
    """As a transform that leaves everything as it is."""

    crop_size = (4, 4)

    def __call__(self, image: np.ndarray, label: int, rng: np.random.Generator) -> Any:
        return SimpleNamespace(
            image=image, label=label, valid=(4, 4), distortion=None, mixture=None
        )


# --- children


def run(folder: Path, cut: tuple[int, int] | None = None, pause: float = 0.0) -> None:
    """Trains in `folder` and leaves outcome.json there.

    `cut` (n, thousandths): the n-th file that is written is cut off there by a kill -9.
    """
    torch.set_num_threads(1)
    logging.basicConfig(filename=folder.with_suffix(".log"), level=logging.INFO)
    if cut is not None:
        files.open = Cutting(*cut)
    made = make_loop(folder)
    if pause:
        made = replace(made, stop=lambda: bool(time.sleep(pause)))
    trained = made.train()
    outcome = {"digest": hash_tensors(made.model.state_dict()), **trained._asdict()}
    (folder / "outcome.json").write_text(json.dumps(outcome))


def hang(folder: Path, seconds: float, limit: float, pause: float = 0.0) -> None:
    """A training whose 13th step takes `seconds`, watched with a limit; others take `pause`."""
    os.environ["LEMORE_STALL_SECONDS"] = str(limit)
    counter = itertools.count(1)

    def hanging_loss(network: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        time.sleep(seconds if next(counter) == 13 else pause)
        return network(batch["x"]).square().mean()

    make_loop(folder, loss=hanging_loss).train()


def rank_sleeps(_: Any, worker: Worker) -> None:
    """The second of several workers falls asleep; the others wait for it."""

    def sleeping_loss(network: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if worker.rank == 1:
            time.sleep(600)
        torch.distributed.all_reduce(torch.zeros(1))
        return network(batch["x"]).square().mean()

    make_loop(worker.data, loss=sleeping_loss, rank=worker.rank).train()


class Cutting:
    """Stands in for open() where files are written: the n-th is cut off by a kill."""

    def __init__(self, number: int, size: int):
        self.number, self.size = number, size

    def __call__(self, path: Any, mode: str = "r") -> Any:
        file = open(path, mode)  # noqa: SIM115
        self.number -= mode == "wb"
        return file if self.number or mode != "wb" else Cut(file, self.size)


class Cut:
    """A file that ends its process in the middle of the first write."""

    def __init__(self, file: Any, size: int):
        self.file, self.size = file, size

    def __enter__(self) -> "Cut":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.file.write(data[: int(self.size / 1000 * len(data))])
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def lemore(folder: Path, argv: list[str], fault: str = "", **environment: str) -> None:
    """`lemore ...` in `folder`, its output in <fault or plain>.log; exits as the command does.

    `fault` names a function below that is called before.
    """
    torch.set_num_threads(1)
    os.chdir(folder)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_", "MLFLOW"))}
    os.environ.clear()
    os.environ.update(clean | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"})
    os.environ.update(environment)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if fault:
        globals()[fault]()
    code = main(argv)
    sys.stdout.flush()
    os._exit(code)


def slow_steps() -> None:
    """Every step takes half a minute."""
    disturb(lambda calls, loss: (time.sleep(30), loss)[1])


GO = "go"  # a file in the command's folder: it has been disturbed and may go on


def held_steps(first: int = 2) -> None:
    """From this step on, each waits until the file GO is there; says so before."""

    def hold(calls: int, loss: torch.Tensor) -> torch.Tensor:
        if calls == first:
            print("held", flush=True)
        while calls >= first and not Path(GO).exists():
            time.sleep(0.02)
        return loss

    disturb(hold)


def held_late() -> None:
    """As `held_steps`, after some rows of metrics."""
    held_steps(25)


def slow_disk() -> None:
    """As `held_steps`, with checkpoints that take two seconds to write."""
    held_steps()
    write = checkpoint.save
    checkpoint.save = lambda *args: (time.sleep(2), write(*args))[1]


def nan_at_third_step() -> None:
    disturb(lambda calls, loss: loss * (float("nan") if calls == 3 else 1.0))


def held_images() -> None:
    """An evaluation that stays at its second image; says so before."""
    original, calls = lemore_segmentation.make_passes, itertools.count(1)

    def make_passes(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == 2:
            print("held", flush=True)
            time.sleep(600)
        return original(*args, **kwargs)

    lemore_segmentation.make_passes = make_passes


def jumping_clock() -> None:
    """Each look at the clock finds it an hour earlier or two hours later."""
    jumps, now = itertools.cycle([-3600.0, 7200.0, -3600.0]), time.time
    total = 0.0

    def jumped() -> float:
        nonlocal total
        total += next(jumps)
        return now() + total

    time.time = jumped


def load_late_modules() -> None:
    """Loads what a run imports late: Python may lie in a folder that only root can read."""
    codecs.lookup("utf-8-sig")
    list_versions()


def homeless() -> None:
    """No HOME, and no line of the user in /etc/passwd."""
    for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        os.environ.pop(name, None)
    load_late_modules()
    if os.getuid() == 0:
        os.setgroups([])
        os.setuid(4711)


def nobody() -> None:
    """A user who may write nothing."""
    load_late_modules()
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


def disturb(change: Callable[[int, torch.Tensor], torch.Tensor]) -> None:
    """Puts `change(number of the call, loss)` behind the segmentation loss."""
    original, calls = losses.compute_segmentation_loss, itertools.count(1)
    losses.compute_segmentation_loss = lambda *args: change(next(calls), original(*args))


def kill_a_loader(folder: Path) -> None:
    """Kills one of two loader processes while batches are read; notes what is told."""
    loader = lemore_loader.TrainBatches(
        Noise(), Crop(), seed=0, batch_size=2, start=0, stop=1000, workers=2
    )
    try:
        with lemore_loader.name_dead_worker():
            for number, _ in enumerate(loader):
                if number == 2:
                    psutil.Process().children()[0].kill()
    except OSError as error:
        (folder / "told").write_text(str(error))


# --- the server

_context = multiprocessing.get_context("forkserver")


def start(function: Callable[..., None], *args: Any, **kwargs: Any) -> BaseProcess:
    """Runs a function of this module in a child of the fork server."""
    os.environ["PYTHONPATH"] = f"{Path(__file__).parent}:{ROOT}"
    _context.set_forkserver_preload([__name__])
    process = _context.Process(target=function, args=args, kwargs=kwargs)
    process.start()
    return process
