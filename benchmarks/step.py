"""Measures a training step beside a plain loop of the same model, and the gain of each option.

Ours is that of the training's own loop, with the recipe's optimiser, the guard against non-finite
values and, where the recipe says so, distortion on the device. The plain loop does neither and is
unoptimised: contiguous tensors, cross-entropy of the whole batch's logits at label size, AdamW with
its defaults. All ways take turns, so that other load affects all of them.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import AdamW

from lemore.cli import run_command
from lemore.config.dataset import DatasetConfig
from lemore.config.jobs import FinetuneJob, make_finetune_job
from lemore.config.read import load, positive
from lemore.config.recipe import Train
from lemore.config.recipe_files import load_recipe
from lemore.data.normalize import normalize
from lemore.models.segmentor import Segmentor, make_model
from lemore.runtime.files import write_json
from lemore.runtime.process import read_processor_name
from lemore.runtime.progress import show_progress
from lemore.runtime.shipped import CONFIG
from lemore.stages.workers import costs
from lemore.training.loop import LOG_EVERY, TrainingLoop

PLAIN, OURS = "plain loop", "lemore"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    models = ["lemore", "topformer_t", "segformer_b0"]
    parser.add_argument("--models", nargs="+", default=models, help="files of config/models")
    parser.add_argument("--recipes", type=Path, default=CONFIG / "recipes/paper")
    parser.add_argument("--dataset", default="ade20k", help="whose recipe, crop size and classes")
    parser.add_argument("--batch-size", type=positive, help="default: 4 on a CPU, 16 on a GPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=positive, default=2, help="CPU threads")
    parser.add_argument("--rounds", type=positive, default=7, help="turns of two steps, each way")
    parser.add_argument("--compile", action="store_true", help="with torch.compile too (minutes)")
    parser.add_argument("--json", type=Path, help="also write the numbers here")


def run(args: argparse.Namespace) -> int:
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    size = args.batch_size or (16 if args.device == "cuda" else 4)
    classes = load(DatasetConfig, CONFIG / f"datasets/{args.dataset}.yaml").num_classes
    record: dict[str, Any] = {
        "device": read_processor_name() if args.device == "cpu" else torch.cuda.get_device_name(),
        "threads": args.threads,
        "torch": str(torch.__version__),
        "dataset": args.dataset,
        "batch_size": size,
        "images_per_s": {},
    }
    for model in args.models:
        recipe, _ = load_recipe(args.recipes, args.dataset, model, {})
        with TemporaryDirectory() as folder:
            job = make_finetune_job("by hand", "noise", classes, model, recipe)
            steps = make_steps(job, size, device, args.compile, Path(folder))
            seconds = measure(steps, args.rounds, model)
        rates = {way: size / one for way, one in seconds.items()}
        record["images_per_s"][model] = rates
        print_rates(
            f"{model}, {size} crops of {recipe.crop_size} (HxW), {args.threads} threads", rates
        )
    if args.json:
        write_json(args.json, record)
    return 0


Step = Callable[[], Any]


def make_steps(
    job: FinetuneJob, size: int, device: torch.device, compiled: bool, folder: Path
) -> dict[str, Step]:
    """Makes steps by name: the plain loop's, ours with all options, and with one changed."""
    recipe = replace(job.train, channels_last=True, fused_loss=True, precision="fp32", ema=0.0)
    changed: dict[str, dict[str, Any]] = {
        OURS: {},
        "without channels_last": {"channels_last": False},
        "with precision: bf16": {"precision": "bf16"},
        "with ema": {"ema": 0.9999},
    }
    if device.type == "cuda":
        changed["with precision: fp16"] = {"precision": "fp16"}
    else:
        changed["without fused_loss"] = {"fused_loss": False}
    if recipe.photometric_distortion == "device":
        changed["without distortion"] = {"photometric_distortion": "none"}
    if compiled:
        changed["with compile"] = {"compile": True}
    threads, steps = torch.get_num_threads(), {}
    for name, change in changed.items():
        changed_job = replace(job, train=replace(recipe, **change))
        loop, batch = costs.make_loop(changed_job, device, size, threads, folder)
        steps[name] = make_our_step(loop, batch, recipe)
        if name == OURS:
            steps[PLAIN] = make_plain_step(make_model(job), recipe, batch, device)
    return steps


def make_plain_step(
    model: Segmentor, recipe: Train, batch: dict[str, Tensor], device: torch.device
) -> Step:
    model.to(device).train()
    optimizer = AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)

    def step() -> float:
        images = normalize(batch["image"].to(device), None)
        label = batch["label"].to(device).long()
        optimizer.zero_grad()
        logits = F.interpolate(model(images), label.shape[1:], mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, label, ignore_index=255)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def make_our_step(loop: TrainingLoop, batch: dict[str, Tensor], recipe: Train) -> Step:
    """Makes the step of the training's own loop."""

    def step() -> Tensor:
        loss = loop.step(batch, 0, recipe.lr)
        if len(loop.finite.steps) == LOG_EVERY:  # the host waits as often as in a training
            loop.finite.read(loop.samples)
        return loss

    return step


def measure(steps: dict[str, Step], rounds: int, model: str) -> dict[str, float]:
    """Measures seconds a step, each way: the median of turns of two steps, after two to warm up."""
    seconds: dict[str, list[float]] = {way: [] for way in steps}
    for index in show_progress(range(rounds + 1), model, unit="round"):
        for way, step in steps.items():
            begin = time.perf_counter()
            step()
            step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if index:
                seconds[way].append((time.perf_counter() - begin) / 2)
    return {way: statistics.median(values) for way, values in seconds.items()}


def print_rates(title: str, rates: dict[str, float]) -> None:
    print(f"{title}\n\n| | images/s | to the plain loop | to {OURS} |\n|---|---:|---:|---:|")
    for way, rate in rates.items():
        print(f"| {way} | {rate:.2f} | {rate / rates[PLAIN]:.2f} | {rate / rates[OURS]:.2f} |")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(run_command("python benchmarks/step.py", sys.modules[__name__], sys.argv[1:]))
