"""Checks of training: the device under test against the CPU in fp32, with the same data."""

import gc
import os
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from lemore.config.jobs import FinetuneJob
from lemore.config.recipe_files import load_recipe
from lemore.data.normalize import STD
from lemore.models.classifier import build_classifier
from lemore.models.segmentor import make_model
from lemore.profiling.memory import watch_peak
from lemore.runtime.checkpoint import Checkpoints
from lemore.runtime.process import StopSignals, explain_no_compiler
from lemore.runtime.ray.cluster import Resources
from lemore.runtime.ray.execute import Work, execute
from lemore.runtime.shipped import CONFIG
from lemore.stages.selftest.bench import (
    MAIN,
    SEED,
    Bench,
    compare,
    draw_store,
    make_start,
    stop_and_resume,
)
from lemore.stages.selftest.outcome import Figure, Skipped
from lemore.stages.workers import finetune, shared
from lemore.training import optim
from lemore.training.loop import TrainingLoop

LARGE = (480, 640)  # of the scenes on which speed is measured
MEGABYTE = 2**20
FEW = 4  # steps


def check_fp32(bench: Bench) -> list[Figure]:
    """Trains in fp32; a GPU may multiply convolutions in TF32."""
    return _compare_training(bench, "fp32", 0.002, 0.02)


def check_main(bench: Bench) -> list[Figure]:
    """Trains LeMoRe, whose weights soon differ by rounding alone, in fp32."""
    job = bench.make_job(MAIN)
    found = bench.train_anew("main", job)
    loss, _ = compare(found, bench.refer("main", job), make_start(job))
    return [Figure("loss differs by", loss, 0.02)]


def check_bf16(bench: Bench) -> list[Figure]:
    """Trains with bf16 where autocast covers it."""
    return _compare_training(bench, "bf16", 0.01, 0.05, precision="bf16")


def check_fp16(bench: Bench) -> list[Figure]:
    """Trains with fp16 and a scaled loss, whose first steps may be left out."""
    # Few steps, since a CPU computes fp16 slowly.
    reference = bench.refer("few", bench.make_job(iterations=FEW))
    found = bench.train_anew("fp16", bench.make_job(precision="fp16", iterations=FEW))
    gap, _ = compare(found, reference, make_start(bench.make_job()))
    skipped = found.row["train/skipped_steps"]
    return [
        Figure("loss differs by", gap, 0.01 + 0.02 * skipped),
        Figure("steps left out", skipped, FEW // 2),
    ]


def check_adamw(bench: Bench) -> list[Figure]:
    """Trains with the fused kernel of AdamW, whose first steps amplify small gradients."""
    changes = {"optimizer": "adamw", "lr": 1e-3}
    return _compare_training(bench, "adamw", 0.002, 0.1, reference="adamw", **changes)


def check_compile(bench: Bench) -> list[Figure]:
    """Trains the network that torch.compile has made."""
    if missing := explain_no_compiler(bench.gpus > 0):
        raise Skipped(f"torch.compile {missing}")
    return _compare_training(bench, "compile", 0.002, 0.02, compile=True)


def check_micro_batches(bench: Bench) -> list[Figure]:
    """Takes each batch in parts within one step."""
    return _compare_training(bench, "micro", 0.002, 0.02, reference="micro", micro_batch=3)


def check_average(bench: Bench) -> list[Figure]:
    """Keeps the running average of the weights."""
    return _compare_training(bench, "average", 0.002, 0.02, reference="average", ema=0.5)


def check_pretraining(bench: Bench) -> list[Figure]:
    """Pretrains with mixup, RMSprop and an average of the weights."""
    job = bench.make_pretrain_job()
    reference = bench.refer("pretraining", job)
    torch.manual_seed(SEED)
    network = build_classifier(
        job.backbone, num_classes=job.num_classes, input_size=job.recipe.crop_size, drop_path=0.0
    )
    found = bench.train_anew("pretraining", job)
    loss, update = compare(found, reference, network.state_dict())
    return [Figure("loss differs by", loss, 0.002), Figure("weights differ by", update, 0.02)]


def check_distortion(bench: Bench) -> list[Figure]:
    """Distorts colours on the device, with the draws of the loader's distortion."""
    images = [
        _prepare_images(bench, bench.make_job(photometric_distortion=where), device)
        for where, device in (("cpu", torch.device("cpu")), ("device", bench.device))
    ]
    levels = (images[0] - images[1]).abs() * torch.tensor(STD).view(3, 1, 1)
    return [Figure("pixels differ by", float(levels.mean()), 0.5, " of 255")]


def check_resume(bench: Bench) -> list[Figure]:
    """Stops a training in the middle; what resumes ends where an undisturbed one does."""
    job = bench.make_job()
    undisturbed = bench.train_anew("undisturbed", job)
    resumed = stop_and_resume(bench, job, "resumed")
    loss, update = compare(resumed, undisturbed, make_start(job))
    limit = 0.02 if bench.gpus else 0.0  # a GPU does not repeat to the bit
    return [Figure("loss differs by", loss, limit), Figure("weights differ by", update, limit)]


def check_workers(bench: Bench) -> list[Figure]:
    """Divides each batch among two workers of a Ray cluster."""
    if bench.gpus and torch.cuda.device_count() < 2:
        raise Skipped("two workers need two GPUs; this machine has one")
    job = bench.make_job(threads=1)
    reference = bench.refer("plain", bench.make_job())
    shutil.rmtree(bench.folder / "workers", ignore_errors=True)
    worker = bench.make_worker("workers", job, bench.gpus)
    resources = Resources("local", 2, 1, bench.gpus)
    execute(Work("lemore.stages.workers.finetune:train", job, worker), resources, StopSignals())
    loss, update = compare(bench.read(worker), reference, make_start(job))
    return [Figure("loss differs by", loss, 0.002), Figure("weights differ by", update, 0.02)]


def check_guard(bench: Bench) -> list[Figure]:
    """Leaves out the steps whose loss is not finite, with every optimiser."""
    figures = []
    for name in ("adamw", "rmsprop", "sgd"):
        torch.manual_seed(SEED)
        network = nn.Conv2d(3, 2, 1).to(bench.device)
        groups = optim.group_parameters(network, 0.0, {})
        make = {
            "adamw": lambda groups: optim.make_adamw(groups, (0.9, 0.999)),
            "rmsprop": lambda groups: optim.RMSpropTF(optim.drop_names(groups)),
            "sgd": lambda groups: optim.make_sgd(groups, 0.9),
        }[name]
        folder = bench.folder / f"guard_{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        outcome = _train_with_nan(network, make(groups), folder, bench.device)
        lost = sum(int(p.isfinite().logical_not().sum()) for p in network.parameters())
        figures.append(Figure(f"{name}: numbers lost", lost, 0))
        figures.append(Figure(f"{name}: wrong count of steps", abs(outcome.skipped_steps - 2), 0))
    return figures


def check_loader(bench: Bench) -> list[Figure]:
    """Gets the same batches from processes, through pinned memory, as from a thread."""
    job = bench.make_job(loader_workers=2)
    plain = list(_make_batches(bench, bench.make_job(), 0.0))
    found = list(_make_batches(bench, job, bench.gpus))
    wrong = 0
    for one, other in zip(plain, found, strict=True):
        moved = {name: values.to(bench.device, non_blocking=True) for name, values in other.items()}
        wrong += sum(not torch.equal(one[name], moved[name].cpu()) for name in one)
    return [Figure("batches that differ", wrong, 0)]


def check_memory(bench: Bench) -> list[Figure]:
    """Takes the same memory for many steps as for few."""
    job = bench.make_job()
    with watch_peak(bench.device) as peak:
        bench.train_anew("memory", job)
        first = _read_memory(bench.device)
        bench.train_anew("memory", job)
    growth = (_read_memory(bench.device) - first) / MEGABYTE
    told = [] if peak.peak_mb is None else [Figure("peak", peak.peak_mb, unit=" MiB")]
    return [Figure("grows by", growth, 1.0 if bench.gpus else 100.0, " MiB"), *told]


def check_speed(bench: Bench) -> list[Figure]:
    """Times the steps of ADE20K's protocol, and the wait for data, on drawn scenes."""
    changes = {"iterations": 40 if bench.gpus else 4, "warmup_iterations": 0, "validate_every": 0}
    if not bench.gpus:
        changes |= {"batch_size": 2, "loader_workers": 0, "threads": bench.threads}
    recipe, _ = load_recipe(CONFIG / "recipes/paper", "ade20k", MAIN, {"train": changes})
    workers = min(recipe.loader_workers, os.cpu_count() or 1)
    job = bench.make_job(MAIN)
    job = replace(job, train=replace(recipe, loader_workers=workers))
    data = bench.folder / "selftest_large"
    if not data.exists():
        draw_store(data, LARGE, {"train": 8, "val": 1})
    shutil.rmtree(bench.folder / "speed", ignore_errors=True)
    row = bench.train("speed", job, bench.gpus, data=data).row
    seconds, share = row["train/seconds_per_iteration"], row["train/data_share"]
    if not (seconds > 0 and row["train/loss"] < 100):
        raise AssertionError(f"{seconds} s a step, loss {row['train/loss']}")
    return [
        Figure("step", 1000 * seconds, unit=" ms"),
        Figure("images", recipe.batch_size / seconds, unit="/s"),
        Figure("loader processes", workers),
        Figure("share of time that waits for data", share),
    ]


def _compare_training(
    bench: Bench,
    name: str,
    loss_limit: float,
    update_limit: float,
    reference: str = "plain",
    **changes: Any,
) -> list[Figure]:
    """Trains on the device with `changes`, which the reference has too unless it is plain."""
    of_reference = changes if reference != "plain" else {}
    expected = bench.refer(reference, bench.make_job(**of_reference))
    found = bench.train_anew(name, bench.make_job(**changes))
    loss, update = compare(found, expected, make_start(bench.make_job()))
    milliseconds = 1000 * found.row["train/seconds_per_iteration"]
    return [
        Figure("loss differs by", loss, loss_limit),
        Figure("weights differ by", update, update_limit),
        Figure("step", milliseconds, unit=" ms"),
    ]


def _make_batches(bench: Bench, job: FinetuneJob, gpus: float) -> Any:
    worker = bench.make_worker("batches", job, gpus)
    return shared.Batches(worker, job.train, finetune.make_transform(job.train))(0)


def _prepare_images(bench: Bench, job: FinetuneJob, device: torch.device) -> torch.Tensor:
    """Returns the images of the first batch as the network gets them, on the CPU."""
    batch = next(iter(_make_batches(bench, job, 0.0)))
    loss = finetune.Loss(job, make_model(job).decode_head, device, None)
    return loss.images(batch).cpu().contiguous()


def _train_with_nan(network: nn.Module, optimizer: Any, folder: Any, device: torch.device) -> Any:
    """Trains on batches of which the third and the fourth are not finite."""
    rng = np.random.default_rng(SEED)
    batches = [torch.from_numpy(rng.standard_normal((2, 3, 4, 4), np.float32)) for _ in range(6)]
    batches[2][0, 0, 0, 0], batches[3][0, 0, 0, 0] = torch.nan, torch.inf
    return TrainingLoop(
        name="guard",
        model=network,
        optimizer=optimizer,
        learning_rate=lambda iteration: 0.01,
        batches=lambda start: [{"x": batch.to(device)} for batch in batches[start:]],
        loss=lambda model, batch: model(batch["x"]).square().mean(),
        iterations=len(batches),
        seed=SEED,
        checkpoints=Checkpoints(folder),
        checkpoint_every=len(batches),
        record=lambda iteration, metrics: None,
        stop=lambda: False,
    ).train()


def _read_memory(device: torch.device) -> int:
    """Returns the bytes in use now, on the GPU or by this process."""
    gc.collect()
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    import psutil

    return psutil.Process().memory_info().rss
