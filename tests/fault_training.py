"""Trainings that are to be disturbed, in children that start within milliseconds.

A fork server has everything imported already, so that a kill costs what the training itself costs.
"""

import json
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import nn

import lemore.data.loader
import lemore.tasks._finetune
import lemore.tasks.finetune
import lemore.training.mlflow_runs  # noqa: F401
from lemore import files
from lemore.training import optim
from lemore.training.checkpoint import Checkpoints, tensor_digest
from lemore.training.loop import Job, train
from lemore.training.spool import Spool

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


def job(folder: Path, **changes: Any) -> Job:
    torch.manual_seed(3)
    model = Small()
    groups = optim.parameter_groups(
        model, head_parameters=[], head_lr_mult=1, weight_decay=0.01, decay_norm="reference"
    )
    checkpoints = Checkpoints(folder)
    checkpoints.remove_remains()
    newest, spool = checkpoints.load_newest(), Spool(folder / "metrics.jsonl")
    spool.rewind(newest["iteration"] if newest else 0)
    values = {
        "name": "small",
        "model": model,
        "optimizer": optim.adamw(groups, (0.9, 0.999)),
        "learning_rate": lambda i: 0.01 * (1 - i / ITERATIONS),
        "batches": lambda start: batches(start, ITERATIONS),
        "loss": lambda network, batch: network(batch["x"]).square().mean(),
        "iterations": ITERATIONS,
        "seed": 3,
        "checkpoints": checkpoints,
        "checkpoint_every": INTERVAL,
        "record": spool.record,
        "stop": lambda: False,
    }
    return Job(**values | changes)


# --- children


def run(folder: Path, cut: tuple[int, int] | None = None, pause: float = 0.0) -> None:
    """Trains in `folder` and leaves outcome.json there.

    `cut` (n, thousandths): the n-th file that is written is cut off there by a kill -9.
    """
    torch.set_num_threads(1)
    logging.basicConfig(filename=folder.with_suffix(".log"), level=logging.INFO)
    if cut is not None:
        files.open = Cutting(*cut)  # type: ignore[attr-defined]
    made = job(folder)
    if pause:
        made = Job(**vars(made) | {"stop": lambda: bool(time.sleep(pause))})
    trained = train(made)
    outcome = {"digest": tensor_digest(made.model.state_dict()), **trained._asdict()}
    (folder / "outcome.json").write_text(json.dumps(outcome))


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


# --- the server

_context = multiprocessing.get_context("forkserver")


def start(function: Callable[..., None], *args: Any, **kwargs: Any) -> BaseProcess:
    """Runs a function of this module in a child of the fork server."""
    os.environ["PYTHONPATH"] = f"{Path(__file__).parent}:{ROOT}"
    _context.set_forkserver_preload([__name__])
    process = _context.Process(target=function, args=args, kwargs=kwargs)
    process.start()
    return process
