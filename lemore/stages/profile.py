"""Counts a model's parameters and MACs, and measures its latency."""

import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lemore.config.code import list_loaded
from lemore.config.jobs import ProfileCell, ProfileJob, read_job
from lemore.config.read import plain
from lemore.config.run import Backend
from lemore.models.fold import bake, fold
from lemore.profiling import backends
from lemore.profiling.latency import NATIVE, measure
from lemore.runtime.files import key_of, write_json
from lemore.runtime.process import leave_with_owner, read_processor_name
from lemore.runtime.progress import show_progress
from lemore.runtime.provenance import find_commit, quote_command
from lemore.runtime.tracking.pending_run import RunDescription
from lemore.runtime.tracking.tracked_run import track
from lemore.stages import count

log = logging.getLogger(__name__)
# What networks return, where it is not logits at native stride.
OUTPUTS = {
    "classification": "logits of the classes",
    "detection": "logits and offsets of all anchors, of which no boxes are made",
}


@dataclass(frozen=True)
class ProfileOptions:
    """Options of the command: the job's YAML, or a model of config/models by hand. size: (H, W) in
    pixels. seconds: longest measurement. json: file of the results."""

    config: Path | None
    model: str | None
    num_classes: int
    size: tuple[int, int]
    seconds: float
    backends: list[Backend]
    upsample: bool
    threads: int
    json: Path | None


def profile(options: ProfileOptions) -> dict[str, Any]:
    """Measures every cell of the job. Returns the results, and writes them where `json` says."""
    leave_with_owner()
    job, left_out = load_job(options), {}
    if options.config is not None:
        left_out = {
            b: reason for b in job.latency_backends if (reason := backends.explain_absence(b))
        }
        for backend, reason in left_out.items():
            log.warning("latency: backend %s is left out: %s", backend, reason)
        kept = tuple(b for b in job.latency_backends if b not in left_out)
        job = replace(job, latency_backends=kept)
    # Measured before the tracking thread starts: its import of MLflow would share the cores.
    cells = [
        profile_cell(job, cell, options.threads)
        for cell in show_progress(job.cells, f"profile {job.model_name}", unit="cell")
    ]
    with track(_describe_run(job)) as run:
        record = describe(job) | {"cells": cells, "backends_left_out": left_out}
        run.record_metrics({k: v for cell in cells for k, v in list_metrics(cell).items()})
        modules = list_loaded("profile", sys.modules)
        record |= {"mlflow_run_id": run.run_id, "modules": modules}
        if options.json is not None:
            write_json(options.json, record)
            run.add_artifact(options.json)
    return record


def load_job(options: ProfileOptions) -> ProfileJob:
    """Returns the job of a workflow, or one cell made from the command line."""
    if options.config is not None:
        return read_job(ProfileJob, options.config)
    if options.model is None:
        raise ValueError("--model: name a file of config/models, or give --config")
    size = (options.size[0], options.size[1])
    return replace(
        count.make_job(options.model, options.num_classes, size),
        latency_seconds=options.seconds,
        latency_backends=tuple(options.backends),
        latency_upsample=options.upsample,
    )


def profile_cell(job: ProfileJob, cell: ProfileCell, threads: int) -> dict[str, Any]:
    """Counts on the meta device, then times the model, folded for each device, at the same size.

    `latency` is that of eager mode at native stride, None if that was not requested.
    """
    model = count.make_cell_model(job, cell)
    resized = job.latency_upsample and cell.task == "segmentation"
    latencies = [
        vars(latency)
        for backend in job.latency_backends
        for latency in measure(
            bake(fold(model, norms=True, device=backends.get_device(backend).type)),
            cell.size,
            backend=backend,
            threads=threads,
            seconds=job.latency_seconds,
            ends=(False, True) if resized else (False,),
            outputs=OUTPUTS.get(cell.task, NATIVE),
        )
    ]
    native = [one for one in latencies if one["backend"] == "eager" and not one["upsample"]]
    return count.count_cell(job, cell) | {
        "latency": native[0] if native else None,
        "latencies": latencies,
    }


def describe(job: ProfileJob) -> dict[str, Any]:
    return {
        "stage": "profile",
        "run": job.run,
        "model": job.model_name,
        "label": job.model.label,
        "encoder": job.model.encoder,
        "backbone": job.model.backbone,
        "device": read_processor_name(),
        "torch": str(torch.__version__),
        "command": quote_command(),
        "code": find_commit(),
    }


def _describe_run(job: ProfileJob) -> RunDescription:
    return RunDescription(
        experiment=f"{job.run}/profiles",
        name=f"profile {job.model_name}",
        identity={"stage": "profile", "run": job.run, "model": job.model_name},
        key=key_of(job, read_processor_name()),
        params={k: v for k, v in plain(job).items() if k != "cells"},
        code=find_commit(),
        measures=True,
    )


def list_metrics(cell: dict[str, Any]) -> dict[str, float]:
    names = {"params": cell["params"], "MACs": cell["macs"], "fvcore_total": cell["fvcore_total"]}
    if cell["latency"] is not None:
        names["latency_ms_p50"] = cell["latency"]["p50_ms"]
        names["latency_ms_p95"] = cell["latency"]["p95_ms"]
    for one in cell["latencies"]:
        end = "upsampled" if one["upsample"] else "native"
        names[f"{one['backend']}_{end}_ms_p50"] = one["p50_ms"]
    height, width = cell["size"]
    return {f"{cell['dataset']}/{height}x{width}/{name}": value for name, value in names.items()}
