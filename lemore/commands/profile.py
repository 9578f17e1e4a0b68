"""Count parameters and MACs of a model, and measure its latency.

Latencies are those of one image and of the model folded for inference (batch norms and LeMoRe's
nested projections taken into convolutions). Each backend runs alone: eager, compiled
(torch.compile) and onnxruntime on the CPU, cuda on the first GPU.

Examples:
  lemore profile --model lemore --depth 2
  lemore profile --model lemore --num-classes 150 --size 512 512 --backends eager onnxruntime \\
    --upsample --threads 2 --json /tmp/lemore.json
"""

import argparse
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import torch

from lemore.config.read import positive
from lemore.models.fold import bake, fold
from lemore.profiling import backends
from lemore.profiling.latency import measure
from lemore.runtime.files import write_json
from lemore.runtime.process import leave_with_owner, read_processor_name
from lemore.runtime.progress import show_progress
from lemore.runtime.tracking import run as tracking
from lemore.stages import counts as _counts
from lemore.stages import training

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="resolved profile (YAML), or by hand:")
    parser.add_argument("--model", help="name of a file in config/models")
    parser.add_argument("--num-classes", type=positive, default=150)
    parser.add_argument("--size", type=positive, nargs=2, metavar=("H", "W"), default=(512, 512))
    parser.add_argument("--seconds", type=float, default=5.0, help="longest latency measurement")
    parser.add_argument(
        "--threads", type=positive, default=1, help="CPU threads of the measurement"
    )
    parser.add_argument(
        "--backends", nargs="+", choices=backends.BACKENDS, default=["eager"], help="what runs it"
    )
    parser.add_argument(
        "--upsample", action="store_true", help="time it with the logits resized to the input too"
    )
    parser.add_argument("--depth", type=int, default=0, help="print the tree of modules this deep")
    parser.add_argument("--json", type=Path, help="file for the results")


def run(args: argparse.Namespace) -> int:
    leave_with_owner()
    config = load_config(args)
    left_out = leave_out(config) if args.config is not None else {}
    # Measured before the tracking thread starts: its import of MLflow would share the cores.
    cells = [
        profile_cell(config, cell, args.threads)
        for cell in show_progress(config["cells"], f"profile {config['model_name']}", unit="cell")
    ]
    with tracking.track(_tracking_stage(config)) as run:
        record = describe(config) | {"cells": cells, "backends_left_out": left_out}
        run.metrics({k: v for cell in cells for k, v in cell_metrics(cell).items()})
        record |= {"mlflow_run_id": run.run_id, "modules": training.loaded_modules("profile")}
        if args.json is not None:
            write_json(args.json, record)
            run.artifact(args.json)
    for cell in cells:
        print("\n".join([*tree(cell, args.depth), *lines(config["model"]["label"], cell)]))
    return 0


def leave_out(config: dict[str, Any]) -> dict[str, str]:
    """Takes the backends that cannot run here out of a workflow's slice; returns the reasons."""
    reasons = {b: reason for b in config["latency_backends"] if (reason := backends.missing(b))}
    for backend, reason in reasons.items():
        log.warning("latency: backend %s is left out: %s", backend, reason)
    kept = [b for b in config["latency_backends"] if b not in reasons]
    config["latency_backends"] = kept
    return reasons


def load_config(args: argparse.Namespace) -> dict[str, Any]:
    """The profile slice, or one cell made from the command line."""
    if args.config is not None:
        return training.load_slice(args.config, "cells")
    if args.model is None:
        raise ValueError("--model: name a file of config/models, or give --config")
    config, cell = _counts.by_name(args.model, args.num_classes, tuple(args.size))
    return config | {
        "latency_seconds": args.seconds,
        "latency_backends": args.backends,
        "latency_upsample": args.upsample,
        "cells": [cell],
    }


def profile_cell(config: dict[str, Any], cell: dict[str, Any], threads: int) -> dict[str, Any]:
    """Counts on the meta device, then latencies of the folded model at the same size.

    `latency` is the one that is eager and at native stride, None if that was not asked for.
    """
    latencies = measure_all(config, cell, threads)
    plain = [one for one in latencies if one["backend"] == "eager" and not one["upsample"]]
    return _counts.count_cell(config, cell) | {
        "latency": plain[0] if plain else None,
        "latencies": latencies,
    }


def measure_all(config: dict[str, Any], cell: dict[str, Any], threads: int) -> list[dict[str, Any]]:
    """Every backend in turn, with the logits at native stride and, if asked, resized."""
    model = bake(fold(_counts.make_model(config, cell), norms=True))
    maps = cell["task"] == "segmentation"
    ends = (False, True) if config["latency_upsample"] and maps else (False,)
    return [
        vars(latency)
        for backend in config["latency_backends"]
        for latency in measure(
            model,
            (cell["size"][0], cell["size"][1]),
            backend=backend,
            threads=threads,
            seconds=config["latency_seconds"],
            ends=ends,
        )
    ]


def describe(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "stage": "profile",
        "run": config["run"],
        "model": config["model_name"],
        "label": config["model"]["label"],
        "encoder": config["model"]["encoder"],
        "backbone": config["model"]["backbone"],
        "device": read_processor_name(),
        "torch": str(torch.__version__),
        "command": training.command(),
        "code": training.git_version(),
    }


def _tracking_stage(config: dict[str, Any]) -> tracking.Stage:
    key = json.dumps(config, sort_keys=True) + read_processor_name()
    return tracking.Stage(
        experiment=f"{config['run']}/profiles",
        name=f"profile {config['model_name']}",
        identity={"stage": "profile", "run": config["run"], "model": config["model_name"]},
        key=hashlib.sha256(key.encode()).hexdigest(),
        params={k: v for k, v in config.items() if k != "cells"},
        code=training.git_version(),
        measures=True,
    )


def cell_metrics(cell: dict[str, Any]) -> dict[str, float]:
    names = {"params": cell["params"], "MACs": cell["macs"], "fvcore_total": cell["fvcore_total"]}
    if cell["latency"] is not None:
        names["latency_ms_p50"] = cell["latency"]["p50_ms"]
        names["latency_ms_p95"] = cell["latency"]["p95_ms"]
    for one in cell["latencies"]:
        end = "upsampled" if one["upsample"] else "native"
        names[f"{one['backend']}_{end}_ms_p50"] = one["p50_ms"]
    height, width = cell["size"]
    return {f"{cell['dataset']}/{height}x{width}/{name}": value for name, value in names.items()}


def tree(cell: dict[str, Any], depth: int) -> list[str]:
    """Parameters, MACs and their share of the modules down to `depth`; [] for 0."""
    if depth < 1:
        return []
    rows = [f"{'module':<48}{'parameters':>12}{'MMACs':>12}{'share':>8}"]
    for name, counts in cell["modules"].items():
        level = name.count(".") + 1 if name else 0
        if level <= depth:
            label = "  " * level + (name.rsplit(".", 1)[-1] or "model")
            share = counts["macs"] / max(cell["macs"], 1)
            millions = f"{counts['macs'] / 1e6:.3f}"
            rows.append(f"{label:<48}{counts['params']:>12,}{millions:>12}{share:>8.1%}")
    return rows


def lines(label: str, cell: dict[str, Any]) -> list[str]:
    height, width = cell["size"]
    counts = (
        f"{label} at {height}x{width}, {cell['num_classes']} classes: {cell['params']} parameters, "
        f"{cell['macs'] / 1e9:.4f} GMACs (fvcore-style {cell['fvcore_total'] / 1e9:.4f})"
    )
    return [counts, *map(latency_line, cell["latencies"])]


def latency_line(one: dict[str, Any]) -> str:
    peak = "" if one["peak_memory_mb"] is None else f", {one['peak_memory_mb']:.0f} MiB at peak"
    end = "input size" if one["upsample"] else "native stride"
    return (
        f"  {one['backend']}, logits at {end}: {one['p50_ms']:.1f} ms p50, {one['p95_ms']:.1f} ms"
        f" p95 over {one['repetitions']} repetitions, {one['threads']} thread(s){peak}"
    )
