"""Compares an evaluation, file to measures, with the forward pass alone; times its counting."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from lemore.cli import run_command
from lemore.config.labels import IGNORE
from lemore.config.read import positive
from lemore.config.recipe import Train
from lemore.config.size import Size
from lemore.data.store import Part, Store
from lemore.evaluation import segmentation
from lemore.evaluation.inference import make_passes
from lemore.evaluation.metrics import Confusion, count_boundaries
from lemore.runtime.files import write_json
from lemore.runtime.process import count_cores
from lemore.trained.find import HELP, read_trained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help=HELP)
    parser.add_argument("--data", type=Path, required=True, help="folder of a prepared dataset")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=positive, default=60, help="of each of the rounds")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument(
        "--threads", type=positive, default=count_cores(), help="CPU threads of the model"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")


def run(args: argparse.Namespace) -> int:
    torch.set_num_threads(args.threads)
    trained = read_trained(args.checkpoint)
    model, recipe = trained.network(), trained.job.train
    store = Store(args.data, args.split)
    part = Part(store, range(min(args.images, len(store))))
    record = {"images_per_s": measure_rates(model, recipe, part, args.rounds)}
    torch.set_num_threads(1)
    record["maps_per_s"] = measure_counting()
    print_record(record, args)
    if args.json:
        write_json(args.json, record)
    return 0


def measure_rates(model: nn.Module, recipe: Train, part: Any, rounds: int) -> dict[str, float]:
    """Measures images per second, each way: the median of alternating rounds."""
    device, test = torch.device("cpu"), segmentation.make_plain_test(recipe.img_scale)
    inputs = [segmentation.make_inputs(part.read(i)[0], device, test) for i in range(len(part))]

    def forward() -> None:
        for images in inputs:
            make_passes(model, images, test, None)

    ways: dict[str, Callable[[], Any]] = {
        "forward pass alone": forward,
        "evaluation": lambda: segmentation.evaluate(model, part, device, test, ()),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(measure_seconds(way, time.perf_counter))
    return {name: len(part) / statistics.median(values) for name, values in seconds.items()}


def measure_seconds(function: Callable[[], Any], clock: Callable[[], float]) -> float:
    begin = clock()
    function()
    return clock() - begin


def measure_counting(size: Size = (512, 683), classes: int = 150) -> dict[str, float]:
    """Measures label maps per second of CPU time, one thread: regions that mostly agree."""
    label, prediction = (draw_regions(seed, size, classes) for seed in (0, 1))
    rows = np.arange(size[0])[:, None] % 128 < 96
    prediction = np.where(rows, label, prediction).astype(np.uint8)
    label[:20] = IGNORE
    confusion = Confusion(classes, IGNORE)
    predicted, labelled = torch.from_numpy(prediction).long(), torch.from_numpy(label).long()
    ways: dict[str, Callable[[], Any]] = {
        "histograms": lambda: count_by_histograms(predicted, labelled, classes),
        "confusion": lambda: confusion.count(prediction, label),
        "boundary": lambda: count_boundaries(prediction, label, confusion),
    }
    matrix = confusion.count(prediction, label)
    own = np.stack([np.diag(matrix), matrix[:, :-1].sum(axis=0), matrix.sum(axis=1)])
    assert (own == count_by_histograms(predicted, labelled, classes).numpy()).all()
    times = {
        name: [measure_seconds(way, time.process_time) for _ in range(20)]
        for name, way in ways.items()
    }
    return {name: 1 / statistics.median(values) for name, values in times.items()}


def draw_regions(seed: int, size: Size, classes: int) -> np.ndarray:
    """Draws a label map (H, W) uint8 like a photo's: some 40 regions with smooth edges."""
    rng = np.random.default_rng(seed)
    fields = rng.normal(size=(7, 9, 40)).astype(np.float32)
    large = cv2.resize(fields, size[::-1], interpolation=cv2.INTER_CUBIC)
    return rng.permutation(classes)[large.argmax(2)].astype(np.uint8)


def count_by_histograms(
    prediction: torch.Tensor, label: torch.Tensor, classes: int
) -> torch.Tensor:
    """Counts intersection, prediction and label by class, 3 x K, as mmsegmentation does: by three
    float histograms of the pixels that are not ignored."""
    kept = label != IGNORE
    prediction, label = prediction[kept], label[kept]
    parts = (prediction[prediction == label], prediction, label)
    return torch.stack([torch.histc(x.float(), classes, 0, classes - 1) for x in parts])


def print_record(record: dict[str, Any], args: argparse.Namespace) -> None:
    rates, counting = record["images_per_s"], record["maps_per_s"]
    print(f"{args.data.name}, {args.threads} threads\n")
    for name, rate in rates.items():
        print(f"{name}: {rate:.2f} images/s ({rate / rates['forward pass alone']:.0%})")
    print("\nCounting 512x683, 150 classes, one thread\n")
    for name, rate in counting.items():
        print(f"{name}: {rate:.0f} maps/s ({rate / counting['histograms']:.1f} of histograms)")


if __name__ == "__main__":
    sys.exit(run_command("python benchmarks/evaluate.py", sys.modules[__name__], sys.argv[1:]))
