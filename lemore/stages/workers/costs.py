"""Measures what a step of a training and a test image cost on this machine, with drawn pixels.

Each measurement has a process of its own, so that memory is measured alone and a failure for lack
of it ends nothing else.
"""

import multiprocessing
import resource
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from lemore.config.jobs import FinetuneJob, PretrainJob
from lemore.config.recipe import Pretrain, Train
from lemore.data.normalize import normalize
from lemore.models.classifier import build_classifier
from lemore.models.segmentor import make_model
from lemore.stages.workers import finetune, pretrain, shared
from lemore.training import optim

CPU_BATCH = 2  # samples of a step on a CPU, where time and memory are proportional to them
MINUTES = 10.0  # for one measurement


@dataclass(frozen=True)
class Subject:
    """The object of a measurement: a training's job, and the (H, W) of a test image."""

    job: FinetuneJob | PretrainJob
    test_size: tuple[int, int] | None
    device: str
    threads: int
    seconds: float


@dataclass(frozen=True)
class Cost:
    """Seconds of a whole step and of a test image, peak of bytes in use, parameters."""

    step: float
    image: float
    memory: int
    parameters: int


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
    torch.set_num_threads(subject.threads)
    device = torch.device(subject.device)
    recipe, model, loss, batch = _parts(subject, device)
    count = len(batch["image"])
    base = _memory(device)
    groups = optim.group_parameters(model, 0.01, {})
    optimizer = optim.make_adamw(groups, (0.9, 0.999))
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model, batch).backward()
        optimizer.step()

    seconds = _time(step, subject.seconds, device) * recipe.batch_size / count
    grown = _memory(device) - base
    image = _time_of_image(model, subject, device) if subject.test_size else 0.0
    parameters = sum(p.numel() for p in model.parameters())
    return Cost(seconds, image, base + grown * _at_once(recipe) // count, parameters)


def _parts(subject: Subject, device: torch.device) -> tuple[Any, nn.Module, Any, dict[str, Any]]:
    """Makes recipe, model, loss and a batch of one training."""
    job = subject.job
    segments = isinstance(job, FinetuneJob)
    if isinstance(job, FinetuneJob):
        recipe, model = job.train, make_model(job)
        loss: Any = finetune.Loss(job, model.decode_head, device, None)
    else:
        recipe = job.recipe
        model = build_classifier(
            job.backbone,
            num_classes=job.num_classes,
            input_size=recipe.crop_size,
            drop_path=recipe.drop_path,
        )
        loss = partial(pretrain.classification_loss, recipe=recipe, device=device)
    shared.place(model, recipe, device)
    at_once = _at_once(recipe)
    count = at_once if device.type == "cuda" else min(CPU_BATCH, at_once)
    size = (count, *recipe.crop_size) if segments else (count,)
    label = torch.randint(0, job.num_classes, size)
    batch = {
        "image": torch.randint(0, 256, (count, 3, *recipe.crop_size), dtype=torch.uint8),
        "label": label.to(torch.uint8) if segments else label,
        "valid": torch.tensor([recipe.crop_size] * count, dtype=torch.int32),
    }
    return recipe, model, loss, batch


def _at_once(recipe: Train | Pretrain) -> int:
    """Returns the number of images that are in memory together."""
    return min(recipe.micro_batch or recipe.batch_size, recipe.batch_size)


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
