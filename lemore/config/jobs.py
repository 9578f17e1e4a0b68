"""What each job of a run is told: a resolved slice of its configuration in one small YAML file.

An edit to the configuration thus reruns exactly the jobs whose slices it changes. Every function
writes its file, unless it is there with the same content, and returns the path. Torch-free.
"""

from pathlib import Path
from typing import Any

from lemore.config.code import write_if_changed
from lemore.config.experiment import Experiment
from lemore.config.read import dump


def finetune(experiment: Experiment, dataset: str, model: str) -> str:
    train, _ = experiment.recipe(dataset, model)
    config = experiment.model(model)
    values = {
        "run": experiment.config.run,
        "dataset": dataset,
        "num_classes": experiment.dataset(dataset).num_classes,
        "model_name": model,
        "model": config,
        "backbone": experiment.backbone(config.backbone),
        "init": experiment.init(config.backbone),
        "train": train,
    }
    return _write(experiment, f"finetune/{dataset}/{model}", values)


def pretrain(experiment: Experiment, backbone: str) -> str:
    dataset = experiment.config.pretrain
    assert dataset is not None
    values = _place(experiment, dataset) | {
        "num_classes": experiment.dataset(dataset).num_classes,
        "backbone_name": backbone,
        "backbone": experiment.backbone(backbone),
        "recipe": experiment.pretrain_recipe(backbone),
    }
    return _write(experiment, f"pretrain/{backbone}", values)


def evaluate(experiment: Experiment, dataset: str, model: str) -> str:
    _, test = experiment.recipe(dataset, model)
    values = _place(experiment, dataset) | {
        "classes": experiment.classes(dataset),
        "images": experiment.images(dataset),
        "test": test,
    }
    return _write(experiment, f"evaluate/{dataset}/{model}", values)


def profile(experiment: Experiment, model: str) -> str:
    config = experiment.model(model)
    values = {
        "run": experiment.config.run,
        "model_name": model,
        "model": config,
        "backbone": experiment.backbone(config.backbone),
        "latency_seconds": experiment.config.latency_seconds,
        "latency_backends": experiment.config.latency_backends,
        "latency_upsample": experiment.config.latency_upsample,
        "cells": [experiment.profile_cell(model, place) for place in experiment.profiles[model]],
    }
    return _write(experiment, f"profile/{model}", values)


def diagram(experiment: Experiment, model: str) -> str:
    """A model's backbone at the size of the paper's Table 1."""
    config = experiment.model(model)
    backbone = experiment.backbone(config.backbone)
    values = {"label": config.label, "backbone": backbone, "size": (512, 512)}
    return _write(experiment, "diagram", values)


def prepare(experiment: Experiment, dataset: str) -> str:
    """What a dataset is made from, the same for all runs. `video` makes nothing of it, so a change
    prepares nothing again, and retrains nothing."""
    path = Path("resources/config") / f"{dataset}.yaml"
    values = {k: v for k, v in vars(experiment.dataset(dataset)).items() if k != "video"}
    write_if_changed(path, dump(values))
    return str(path)


def _place(experiment: Experiment, dataset: str) -> dict[str, Any]:
    """The run and the dataset of a job, and what the dataset is drawn in place of."""
    config = experiment.dataset(dataset)
    return {
        "run": experiment.config.run,
        "dataset": dataset,
        "stands_for": config.stands_for,
        "scenes": config.scenes is not None,
    }


def _write(experiment: Experiment, name: str, values: dict[str, Any]) -> str:
    path = experiment.results / "config" / f"{name}.yaml"
    write_if_changed(path, dump(values))
    return str(path)
