"""Measures what a training costs on this machine: its own step and a test image with drawn pixels,
and the loading of the prepared data.

Each measurement has a process of its own, so that memory is measured alone and a failure for lack
of it ends nothing else.
"""

import itertools
import multiprocessing
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from lemore.config.jobs import FinetuneJob, PretrainJob
from lemore.config.recipe import Pretrain, Train
from lemore.data.detection_batches import DetectionBatches, take_labelled
from lemore.data.loader import Batch, TrainBatches, Transform
from lemore.data.normalize import normalize
from lemore.data.objects import Objects
from lemore.data.photo import PIXELS, Photo
from lemore.data.store import Store
from lemore.models.network import make_network
from lemore.runtime.worker import Worker
from lemore.stages.workers import finetune, pretrain, shared
from lemore.stages.workers.teacher import build_teacher
from lemore.trained.find import read_trained
from lemore.training.loop import TrainingLoop

CPU_BATCH = 2  # samples of a step on a CPU, where time and memory are proportional to them
LOADED = 8  # samples that are loaded between two looks at the clock
PRETRAIN_SIDE, BLOCK = 375, 32  # pixels, of drawn photos and of the blocks of their labels
OBJECTS = 7  # in a drawn photo, as many as in one of COCO
MINUTES = 10.0  # for one measurement


@dataclass(frozen=True)
class Subject:
    """The object of a measurement: a training's job, and the (H, W) of a test image. data: the
    prepared dataset, None if there is none yet."""

    job: FinetuneJob | PretrainJob
    test_size: tuple[int, int] | None
    device: str
    threads: int
    seconds: float
    data: Path | None


@dataclass(frozen=True)
class Cost:
    """Seconds of a whole step and of a test image, peak of bytes in use, parameters, and the
    seconds of one core in which a sample is loaded (0.0: there are no data)."""

    step: float
    image: float
    memory: int
    parameters: int
    sample: float


def measure(subject: Subject) -> Cost | str:
    """Returns the cost, or a line that says why there is none."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(send, subject))
    process.start()
    send.close()
    try:
        if not receive.poll(MINUTES * 60):
            process.kill()
            return f"no answer within {MINUTES:g} minutes"
        answer: Cost | str = receive.recv()
    except EOFError:
        answer = "the process was killed; it may have run out of memory"
    process.join()
    return answer


def _answer(send: Any, subject: Subject) -> None:
    try:
        send.send(_measure(subject))
    except (RuntimeError, ValueError) as error:  # out of memory is a RuntimeError
        send.send(f"{type(error).__name__}: {' '.join(str(error).split())[:150]}")


def _measure(subject: Subject) -> Cost:
    device, recipe = torch.device(subject.device), read_recipe(subject.job)
    at_once = min(recipe.micro_batch or recipe.batch_size, recipe.batch_size)
    count = recipe.batch_size
    if device.type == "cpu":
        count = min(CPU_BATCH, at_once)
    with TemporaryDirectory() as folder:
        loop, batch = make_loop(subject.job, device, count, subject.threads, Path(folder))
        base = _memory(device)

        def step() -> None:
            loop.step(batch, 0, recipe.lr)
            loop.finite.read(loop.samples)

        seconds = _time(step, subject.seconds, device) * recipe.batch_size / count
    peak = _memory(device)
    if device.type == "cpu":
        peak = base + (peak - base) * at_once // count
    parameters = sum(p.numel() for p in loop.model.parameters())
    image = _time_of_image(loop.kept, subject, device) if subject.test_size else 0.0
    sample = _time_of_sample(subject, subject.data) if subject.data else 0.0
    return Cost(seconds, image, peak, parameters, sample)


def read_recipe(job: FinetuneJob | PretrainJob) -> Train | Pretrain:
    return job.train if isinstance(job, FinetuneJob) else job.recipe


def make_loop(
    job: FinetuneJob | PretrainJob, device: torch.device, count: int, threads: int, folder: Path
) -> tuple[TrainingLoop, Batch]:
    """Makes the training's own loop with a new model, and a batch of `count` drawn photos that are
    augmented as the training's. folder: an empty one for its state.

    A count smaller than the recipe's batch is taken at once.
    """
    worker = Worker(data=folder, folder=folder, seed=0, gpus=float(device.type == "cuda"))
    device = shared.set_up(worker, threads)
    batches: Any = _DrawnBatches()
    changes: dict[str, Any] = {"validate_every": 0}
    if count < read_recipe(job).batch_size:
        changes |= {"batch_size": count, "micro_batch": 0}
    if isinstance(job, FinetuneJob):
        job = replace(job, train=replace(job.train, class_weight="none", **changes))
        model, teacher = make_network(job), None
        if job.train.teacher is not None:
            teacher = build_teacher(job, read_trained(job.train.teacher.name))
        loop = finetune.make_loop(job, worker, device, model, batches, teacher)
    else:
        job = replace(job, recipe=replace(job.recipe, **changes))
        loop = pretrain.make_loop(job, worker, device, batches, None)
    loop.called.train()
    drawn: Any = _DrawnPhotos(job)
    place = (drawn, _make_transform(job))
    kind = _choose_kind(job)
    made = TrainBatches(*place, seed=0, batch_size=count, start=0, stop=1, kind=kind)
    batch = made.batches[0]
    if device.type == "cuda":  # as the loader's, from which it copies by itself
        batch = {name: values.pin_memory() for name, values in batch.items()}
    return loop, batch


def _make_transform(job: FinetuneJob | PretrainJob) -> Transform:
    if isinstance(job, FinetuneJob):
        return finetune.find_parts(job).make_transform(job.train)
    return pretrain.make_transform(job.recipe)


def _choose_kind(job: FinetuneJob | PretrainJob) -> type[DetectionBatches] | None:
    return DetectionBatches if _find_task(job) == "detection" else None


def _find_task(job: FinetuneJob | PretrainJob) -> str:
    return job.model.task if isinstance(job, FinetuneJob) else "classification"


class _DrawnBatches:
    """Stands for the batches of a loop that is not run."""

    def __call__(self, start: int) -> list[Batch]:
        return []

    def names(self, iteration: int) -> list[str]:
        return []


class _DrawnPhotos:
    """A split of noise, with labels in blocks, or boxes; stands for a `Store`."""

    def __init__(self, job: FinetuneJob | PretrainJob) -> None:
        self.task = _find_task(job)
        rng = np.random.default_rng(0)
        short = min(job.train.img_scale) if isinstance(job, FinetuneJob) else PRETRAIN_SIDE
        size = (short, short * 4 // 3)
        self.image = rng.integers(0, 256, (*size, 3), np.uint8)
        self.label: Any = 0
        if self.task == "segmentation":
            blocks = rng.integers(
                0, job.num_classes, [side // BLOCK + 1 for side in size], np.uint8
            )
            self.label = blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)[: size[0], : size[1]].copy()
        elif self.task == "detection":
            corners = rng.uniform(0, short - BLOCK, (OBJECTS, 2)).astype(np.float32)
            kinds = rng.integers(0, job.num_classes, OBJECTS)
            boxes = np.concatenate([corners, corners + BLOCK], 1)
            areas = np.full(OBJECTS, BLOCK**2, np.float32)
            self.label = Objects(boxes, kinds, np.zeros(OBJECTS, bool), areas)

    def __len__(self) -> int:
        return 1

    def read(self, index: int) -> tuple[np.ndarray, Any]:
        return self.image, self.label

    def open(self, index: int) -> tuple[Photo, Any]:
        size = (self.image.shape[0], self.image.shape[1])
        return Photo(self.image.reshape(-1), PIXELS, size), self.label

    def name(self, index: int) -> str:
        return "drawn"

    def list_sizes(self) -> np.ndarray:
        return np.array([self.image.shape[:2]])


def _time_of_sample(subject: Subject, data: Path) -> float:
    """Measures the seconds of one core in which a sample is read and augmented."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    recipe = replace(read_recipe(subject.job), batch_size=LOADED, micro_batch=0)
    repeats = getattr(recipe, "repeats", 1)
    worker = Worker(data=data.absolute(), folder=Path(), seed=0)
    kind, store = _choose_kind(subject.job), None
    if kind:
        store = take_labelled(Store(worker.data, "train"))
    place = (worker, recipe, _make_transform(subject.job), repeats)
    batches = shared.Batches(*place, kind=kind, store=store)(0).batches
    numbers = itertools.count()
    device = torch.device("cpu")
    return _time(lambda: batches[next(numbers)], subject.seconds / 2, device) / LOADED


def _time(step: Any, seconds: float, device: torch.device) -> float:
    """Times one step: the median of as many as fit, at least two, without the first."""
    step()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 2:
        _wait(device)
        begin = time.perf_counter()
        step()
        _wait(device)
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]


@torch.inference_mode()
def _time_of_image(model: nn.Module, subject: Subject, device: torch.device) -> float:
    assert subject.test_size is not None
    model.eval()
    image = torch.zeros((1, 3, *subject.test_size), dtype=torch.uint8, device=device)
    return _time(lambda: model(normalize(image, None)), subject.seconds / 4, device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _memory(device: torch.device) -> int:
    """Returns the peak of bytes in use so far, on the GPU or by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
