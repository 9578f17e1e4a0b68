"""Counts parameters and MACs of models at one size, without memory for their weights."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lemore.config.code import NETWORKS
from lemore.config.jobs import CountJob, ProfileCell, ProfileJob, read_job
from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import load
from lemore.models.classifier import build_classifier
from lemore.models.segmentor import build_segmentor
from lemore.profiling.counts import count
from lemore.runtime.files import write_json
from lemore.runtime.progress import show_progress
from lemore.runtime.shipped import list_names


def count_models(names: list[str], num_classes: int, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Makes a row for each named file of config/models ([]: all), the smallest MACs first."""
    names = names or list_names("config/models")
    rows = []
    for name in show_progress(names, "count", unit="model"):
        job = make_job(name, num_classes, size)
        counts = count_cell(job, job.cells[0])
        with_aux = counts["params_with_aux"]
        rows.append(
            {
                "model": name,
                "label": job.model.label,
                "encoder": job.model.encoder,
                "params_m": counts["params"] / 1e6,
                "params_m_with_aux": "" if with_aux is None else with_aux / 1e6,
                "gmacs": counts["macs"] / 1e9,
                "gmacs_fvcore": counts["fvcore_total"] / 1e9,
            }
        )
    return sorted(rows, key=lambda row: row["gmacs"])


def write_counts(config: Path, output: Path) -> None:
    """Counts every cell of a run's CountJob; writes them as profiles without times."""
    job, models = read_job(CountJob, config), []
    for one in show_progress(job.models, "count", unit="model"):
        cells = [count_cell(one, cell) for cell in one.cells]
        for cell in cells:
            cell |= {"latency": None}
            del cell["modules"], cell["uncounted"]
        names = {"model": one.model_name, "label": one.model.label, "encoder": one.model.encoder}
        models.append(names | {"device": "", "cells": cells})
    write_json(output, {"stage": "count", "run": job.run, "models": models})


def make_job(name: str, num_classes: int, size: tuple[int, int]) -> ProfileJob:
    """Makes the job of a profile by hand: one cell of a file in config/models."""
    model = load(ModelConfig, f"config/models/{name}.yaml")
    return ProfileJob(
        run="by hand",
        model_name=name,
        model=model,
        backbone=load(BackboneConfig, f"config/backbones/{model.backbone}.yaml"),
        latency_seconds=0.0,
        latency_backends=(),
        latency_upsample=False,
        cells=(ProfileCell("by hand", model.task, num_classes, size, {}),),
    )


def make_cell_model(job: ProfileJob, cell: ProfileCell, *, auxiliary: bool = False) -> nn.Module:
    """Makes the model of a cell, on torch's current default device."""
    if cell.task == "classification":
        return build_classifier(
            job.backbone, num_classes=cell.num_classes, input_size=cell.size, drop_path=0.0
        )
    if cell.task == "detection":
        return import_module(NETWORKS[cell.task]).build_detector(
            job.model,
            job.backbone,
            num_classes=cell.num_classes,
            input_size=cell.size,
            drop_path=0.0,
            overrides=cell.head,
        )
    return build_segmentor(
        job.model,
        job.backbone,
        num_classes=cell.num_classes,
        input_size=cell.size,
        drop_path=0.0,
        overrides=cell.head,
        auxiliary=auxiliary,
    )


def count_cell(job: ProfileJob, cell: ProfileCell) -> dict[str, Any]:
    """Makes a profile's cell without times, on the meta device."""
    with torch.device("meta"):
        counts = count(make_cell_model(job, cell), cell.size)
        trained = make_cell_model(job, cell, auxiliary=True)
    params_with_aux = sum(p.numel() for p in trained.parameters())
    return {
        "dataset": cell.dataset,
        "num_classes": cell.num_classes,
        "size": list(cell.size),
        "params": counts.params,
        "params_with_aux": params_with_aux if params_with_aux != counts.params else None,
        "macs": counts.macs,
        "fvcore_total": counts.fvcore_total,
        "modules": counts.modules,
        "uncounted": counts.uncounted,
    }
