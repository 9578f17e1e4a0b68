"""Measures an exported file: its size on disk, and the latency of an image in its runtime."""

from pathlib import Path
from typing import Any

from lemore.config.jobs import ProfileCell, ProfileJob
from lemore.profiling.latency import measure_file
from lemore.runtime.files import write_json
from lemore.runtime.process import read_processor_name
from lemore.runtime.provenance import find_commit, quote_command
from lemore.stages import count
from lemore.trained.exported_file import Exported
from lemore.trained.find import read_model


def profile_file(
    checkpoint: str, threads: int, seconds: float, json: Path | None
) -> dict[str, Any]:
    """Returns the cell of a profile, at the file's size, with the file's latency; writes it where
    `json` says. Parameters and MACs are those of the network that it was made from.

    ValueError if `checkpoint` is no exported file.
    """
    trained = read_model(checkpoint)
    if not isinstance(trained, Exported):
        raise ValueError(
            f"--checkpoint: {checkpoint} is no exported file; --model profiles a network by name"
        )
    job, size = trained.job, trained.interface.size
    cell = ProfileCell(job.dataset, "segmentation", job.num_classes, size, job.train.decode_head)
    network = ProfileJob(
        run="by hand",
        model_name=job.model_name,
        model=job.model,
        backbone=job.backbone,
        latency_seconds=seconds,
        latency_backends=("onnxruntime",),
        latency_upsample=False,
        cells=(cell,),
    )
    counts = count.count_cell(network, cell)
    file = trained.kind, trained.contents
    latency = vars(measure_file(*file, size, threads=threads, seconds=seconds))
    record = {
        "stage": "profile",
        "run": network.run,
        "model": job.model_name,
        "label": job.model.label,
        "encoder": job.model.encoder,
        "file": checkpoint,
        "format": trained.format,
        "bytes": sum(map(len, trained.contents)),
        "weights_sha256": trained.record.weights_sha256,
        "device": read_processor_name(),
        "command": quote_command(),
        "code": find_commit(),
        "cells": [counts | {"latency": latency, "latencies": [latency]}],
    }
    if json is not None:
        write_json(json, record)
    return record
