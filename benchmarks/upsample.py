"""Compares label maps by cells, by all classes, and by F.interpolate and argmax."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import nn

from lemore.cli import run_command
from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import load, positive
from lemore.config.size import Size
from lemore.data.store import Store
from lemore.evaluation import cells, segmentation
from lemore.evaluation.upsample import Pass, Window, label_by_classes, label_passes, resize
from lemore.models.segmentor import build_segmentor
from lemore.profiling.memory import watch_peak
from lemore.runtime.files import write_json
from lemore.runtime.shipped import CONFIG
from lemore.trained.find import HELP, read_trained

TIE = 1e-5  # relative difference of the two best logits below which rounding decides
NUMBERS = (1, 2, 3, 4, 8)  # of candidates, up to which cells are counted together


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", help=f"{HELP}; needs --data")
    parser.add_argument("--data", type=Path, help="folder of a prepared dataset")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=positive, default=10, help="how many of the split")
    size = {"type": int, "nargs": 2, "metavar": ("H", "W")}
    parser.add_argument("--size", **size, default=(512, 683), help="of the images")
    parser.add_argument("--input-size", **size, help="of the network's input; default: --size")
    parser.add_argument("--model", default="lemore", help="config/models/*.yaml, random weights")
    parser.add_argument("--classes", type=positive, nargs="+", default=[11, 19, 60, 150])
    parser.add_argument("--repeats", type=positive, default=3, help="measurements of each image")
    parser.add_argument("--json", type=Path, help="also write the numbers here")


class Logits(NamedTuple):
    """Logits of one image, 1 K h w, and the sizes of the network's input and of the image."""

    values: torch.Tensor
    input_size: Size
    original_size: Size


def run(args: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows = [
        measure(f"{name}, {preset}", preset, list(make()), args.repeats)
        for name, make in list_sources(args)
        for preset in ("two_step", "one_step")
    ]
    print_rows(rows)
    if args.json:
        write_json(args.json, rows)
    return 0


def list_sources(args: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Iterator[Logits]]]]:
    """Lists the measured logits: of a trained model, of untrained ones, and noise."""
    if args.checkpoint is not None:
        if args.data is None:
            raise ValueError("--checkpoint needs --data, whose images the model sees")
        model = read_trained(args.checkpoint).network()
        yield f"trained on {Store(args.data, args.split).dataset}", lambda: run_model(args, model)
    for classes in args.classes:
        model = make_untrained(args.model, classes)
        yield "random weights", lambda model=model: run_model(args, model)
        yield "noise", lambda classes=classes: make_noise(args, classes)


@torch.inference_mode()
def run_model(args: argparse.Namespace, model: nn.Module) -> Iterator[Logits]:
    input_size = args.input_size or args.size
    for image in islice(read_images(args), args.images):
        resized = cv2.resize(image, tuple(input_size)[::-1])
        values = model(segmentation.normalize_image(resized, torch.device("cpu")))
        yield Logits(values, tuple(input_size), tuple(args.size))


def read_images(args: argparse.Namespace) -> Iterator[np.ndarray]:
    """Reads RGB images: the split's, or one of coloured clouds."""
    if args.data is None:
        clouds = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
        yield cv2.resize(clouds, tuple(args.size)[::-1], interpolation=cv2.INTER_CUBIC)
        return
    store = Store(args.data, args.split)
    yield from (store.read_image(i) for i in range(len(store)))


def make_untrained(name: str, classes: int) -> nn.Module:
    model = load(ModelConfig, CONFIG / f"models/{name}.yaml")
    torch.manual_seed(0)
    return build_segmentor(
        model,
        load(BackboneConfig, CONFIG / f"backbones/{model.backbone}.yaml"),
        num_classes=classes,
        input_size=(512, 512),
        drop_path=0.0,
        overrides={},
        auxiliary=False,
    ).eval()


def make_noise(args: argparse.Namespace, classes: int) -> Iterator[Logits]:
    input_size = args.input_size or args.size
    height, width = (-(-side // 8) for side in input_size)
    values = torch.randn(1, classes, height, width, generator=torch.manual_seed(0))
    yield Logits(values, tuple(input_size), tuple(args.size))


def measure(name: str, preset: str, images: list[Logits], repeats: int) -> dict[str, Any]:
    """Measures one row of the table over all images: times, memory, differences, candidates."""
    times: dict[str, list[float]] = {}
    differing = beyond = 0
    counts = []
    for logits in images:
        ways = make_ways(logits, preset)
        for _ in range(repeats):
            for way, make in ways.items():
                times.setdefault(way, []).append(measure_milliseconds(make))
        differ = ways["lemore"]() != ways["reference"]().numpy()
        differing += int(differ.sum())
        beyond += int((differ & ~find_ties(logits, preset)).sum())
        counts.append(count_candidates(logits, preset))
    ways = make_ways(images[0], preset)
    return {
        "logits": name,
        "shape": list(images[0].values.shape[1:]),
        "input_size": list(images[0].input_size),
        "original_size": list(images[0].original_size),
        "images": len(images),
        "milliseconds": {way: statistics.median(values) for way, values in times.items()},
        "memory_mib": {way: measure_memory(make) for way, make in ways.items()},
        "pixels_differing": differing,
        "differing_beyond_ties": beyond,
        "cells_by_candidates": share_by_number(np.concatenate(counts)),
        "mean_candidates": float(np.concatenate(counts).mean()),
    }


def make_ways(logits: Logits, preset: str) -> dict[str, Callable[[], Any]]:
    size = logits.original_size
    only = Pass([Window(0, 0, logits.input_size, logits.values)], get_via(logits, preset))
    return {
        "reference": lambda: resize_all(logits, preset).argmax(1)[0],
        "all classes": lambda: label_by_classes(only, size, None),
        "lemore": lambda: label_passes([only], size),
    }


def get_via(logits: Logits, preset: str) -> Size | None:
    return logits.input_size if preset == "two_step" else None


def resize_all(logits: Logits, preset: str) -> torch.Tensor:
    """Resizes logits to the image's size, all classes in one piece."""
    via = get_via(logits, preset)
    return resize(resize(logits.values, via) if via else logits.values, logits.original_size)


def measure_milliseconds(function: Callable[[], Any]) -> float:
    """Measures milliseconds of this process's CPU time, which other processes hardly change."""
    begin = time.process_time()
    function()
    return 1e3 * (time.process_time() - begin)


def find_ties(logits: Logits, preset: str) -> np.ndarray:
    """Finds pixels whose two best logits are equal but for rounding."""
    values = resize_all(logits, preset)[0]
    best = values.topk(min(2, len(values)), dim=0).values
    return ((best[0] - best[-1]) < TIE * best.abs().amax(0)).numpy()


def count_candidates(logits: Logits, preset: str) -> np.ndarray:
    """Counts the classes that can win, cell by cell."""
    size, steps = logits.original_size, get_via(logits, preset) or logits.original_size
    low = logits.values.shape[2:]
    taps = [cells.make_linear_resize(low[i], steps[i], size[i]).taps for i in (0, 1)]
    return cells.find_candidates(logits.values[0], *taps).counts


def share_by_number(counts: np.ndarray) -> dict[str, float]:
    """Returns the share of cells by number of candidates."""
    edges = (0, *NUMBERS, 255)
    return {
        (str(high) if high == low + 1 else f"{low + 1}-{high}" if high < 255 else f"{low + 1}+"): (
            float(((counts > low) & (counts <= high)).mean())
        )
        for low, high in pairwise(edges)
    }


def measure_memory(function: Callable[[], Any]) -> float | None:
    """Measures the peak of the process's memory while `function` runs, in MiB above the start."""
    function()
    with watch_peak(torch.device("cpu")) as peak:
        function()
    return None if peak.peak_mb is None else max(peak.peak_mb, 0.0)


def print_rows(rows: list[dict[str, Any]]) -> None:
    print("One thread; milliseconds of CPU time for an image, MiB beyond the logits' own\n")
    print("| logits | shape | input | image | reference | all classes | lemore | ratio | differ |")
    print("|---|---|---|---|---:|---:|---:|---:|---:|")
    for row in rows:
        sizes = ["x".join(map(str, row[k])) for k in ("shape", "input_size", "original_size")]
        memory = {way: "?" if m is None else f"{m:.0f}" for way, m in row["memory_mib"].items()}
        pairs = [f"{ms:.1f} ({memory[way]})" for way, ms in row["milliseconds"].items()]
        ratio = row["milliseconds"]["reference"] / row["milliseconds"]["lemore"]
        differ = f"{row['pixels_differing']} ({row['differing_beyond_ties']} no ties)"
        print(f"| {' | '.join([row['logits'], *sizes, *pairs, f'{ratio:.1f}', differ])} |")
    print("\nShare of cells by number of candidates\n")
    for row in rows:
        shares = [f"{n}: {share:.1%}" for n, share in row["cells_by_candidates"].items()]
        print(f"{row['logits']}, {row['shape'][0]} classes: {', '.join(shares)}")


if __name__ == "__main__":
    sys.exit(run_command("python benchmarks/upsample.py", sys.modules[__name__], sys.argv[1:]))
