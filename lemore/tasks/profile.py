"""Count parameters and MACs of a model, and measure its latency on the CPU.

Example:
  lemore profile --model lemore --num-classes 150 --size 512 512 --json /tmp/lemore.json
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lemore.config import build, load
from lemore.files import write_json
from lemore.machine import processor
from lemore.models.classifier import build_classifier
from lemore.models.fold import fold
from lemore.models.schema import BackboneConfig, ModelConfig
from lemore.models.segmentor import build_segmentor
from lemore.profiling.counts import count
from lemore.profiling.latency import measure
from lemore.progress import progress
from lemore.tasks import _stage
from lemore.training import tracking
from lemore.training.process import leave_with_owner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="resolved profile (YAML), or by hand:")
    parser.add_argument("--model", help="name of a file in config/models")
    parser.add_argument("--num-classes", type=int, default=150)
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), default=(512, 512))
    parser.add_argument("--seconds", type=float, default=5.0, help="longest latency measurement")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the measurement")
    parser.add_argument("--json", type=Path, required=True, help="file for the results")


def run(args: argparse.Namespace) -> int:
    leave_with_owner()
    config = load_config(args)
    stage = _tracking_stage(config)
    with tracking.track(stage) as run:
        cells = [
            profile_cell(config, cell, args.threads)
            for cell in progress(config["cells"], f"profile {config['model_name']}", unit="cell")
        ]
        record = describe(config) | {"cells": cells, "mlflow_run_id": run.run_id}
        record |= {"modules": _stage.loaded_modules("profile")}
        write_json(args.json, record)
        for cell in cells:
            run.metrics(cell_metrics(cell))
        run.artifact(args.json)
    for cell in cells:
        print(line(config["model"]["label"], cell))
    return 0


def load_config(args: argparse.Namespace) -> dict[str, Any]:
    """The profile slice, or one cell made from the command line."""
    if args.config is not None:
        return _stage.load_slice(args.config)
    if args.model is None:
        raise ValueError("--model: name a file of config/models, or give --config")
    model = load(ModelConfig, Path("config/models") / f"{args.model}.yaml")
    backbone = load(BackboneConfig, Path("config/backbones") / f"{model.backbone}.yaml")
    cell = {
        "dataset": "by hand",
        "task": "segmentation",
        "num_classes": args.num_classes,
        "size": list(args.size),
        "decode_head": {},
    }
    return {
        "run": "by hand",
        "model_name": args.model,
        "model": vars(model),
        "backbone": vars(backbone),
        "latency_seconds": args.seconds,
        "cells": [cell],
    }


def make_model(
    config: dict[str, Any], cell: dict[str, Any], *, auxiliary: bool = False
) -> nn.Module:
    """The model of a cell, on torch's current default device."""
    backbone = build(BackboneConfig, config["backbone"], "profile", "backbone.")
    size = (cell["size"][0], cell["size"][1])
    if cell["task"] == "classification":
        return build_classifier(
            backbone, num_classes=cell["num_classes"], input_size=size, drop_path=0.0
        )
    return build_segmentor(
        build(ModelConfig, config["model"], "profile", "model."),
        backbone,
        num_classes=cell["num_classes"],
        input_size=size,
        drop_path=0.0,
        overrides=cell["decode_head"],
        auxiliary=auxiliary,
    )


def profile_cell(config: dict[str, Any], cell: dict[str, Any], threads: int) -> dict[str, Any]:
    """Counts on the meta device, then latency of the folded model at the same size."""
    size = (cell["size"][0], cell["size"][1])
    with torch.device("meta"):
        counts = count(make_model(config, cell), size)
        trained = make_model(config, cell, auxiliary=True)
    params_with_aux = sum(p.numel() for p in trained.parameters())
    model = fold(make_model(config, cell).eval())
    latency = measure(
        model, size, threads=threads, seconds=config["latency_seconds"], upsample=False
    )
    return {
        "dataset": cell["dataset"],
        "num_classes": cell["num_classes"],
        "size": list(size),
        "params": counts.params,
        "params_with_aux": params_with_aux if params_with_aux != counts.params else None,
        "macs": counts.macs,
        "fvcore_total": counts.fvcore_total,
        "modules": counts.modules,
        "uncounted": counts.uncounted,
        "latency": vars(latency),
    }


def describe(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "stage": "profile",
        "run": config["run"],
        "model": config["model_name"],
        "label": config["model"]["label"],
        "encoder": config["model"]["encoder"],
        "backbone": config["model"]["backbone"],
        "device": processor(),
        "torch": str(torch.__version__),
        "command": _stage.command(),
        "code": _stage.git_version(),
    }


def _tracking_stage(config: dict[str, Any]) -> tracking.Stage:
    key = json.dumps(config, sort_keys=True) + processor()
    return tracking.Stage(
        experiment=f"{config['run']}/profiles",
        name=f"profile {config['model_name']}",
        identity={"stage": "profile", "run": config["run"], "model": config["model_name"]},
        key=hashlib.sha256(key.encode()).hexdigest(),
        params={k: v for k, v in config.items() if k != "cells"},
        code=_stage.git_version(),
    )


def cell_metrics(cell: dict[str, Any]) -> dict[str, float]:
    names = {"params": cell["params"], "MACs": cell["macs"], "fvcore_total": cell["fvcore_total"]}
    names |= {
        "latency_ms_p50": cell["latency"]["p50_ms"],
        "latency_ms_p95": cell["latency"]["p95_ms"],
    }
    return {f"{cell['dataset']}/{name}": value for name, value in names.items()}


def line(label: str, cell: dict[str, Any]) -> str:
    height, width = cell["size"]
    latency = cell["latency"]
    return (
        f"{label} at {height}x{width}, {cell['num_classes']} classes: {cell['params']} parameters, "
        f"{cell['macs'] / 1e9:.4f} GMACs (fvcore-style {cell['fvcore_total'] / 1e9:.4f}), "
        f"{latency['p50_ms']:.1f} ms p50, {latency['p95_ms']:.1f} ms p95 "
        f"over {latency['repetitions']} repetitions, {latency['threads']} thread(s)"
    )
