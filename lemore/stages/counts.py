"""A model's parameters and MACs at one size, counted without memory for its weights."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import build, load, plain
from lemore.models.classifier import build_classifier
from lemore.models.segmentor import build_segmentor
from lemore.profiling.counts import count


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


def count_cell(config: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    """What a cell of a profile says of the network itself, on the meta device."""
    size = (cell["size"][0], cell["size"][1])
    with torch.device("meta"):
        counts = count(make_model(config, cell), size)
        trained = make_model(config, cell, auxiliary=True)
    params_with_aux = sum(p.numel() for p in trained.parameters())
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
    }


def by_name(
    name: str, num_classes: int, size: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model, backbone and one cell of a file in config/models, as a profile's slice has them."""
    model = load(ModelConfig, Path("config/models") / f"{name}.yaml")
    backbone = load(BackboneConfig, Path("config/backbones") / f"{model.backbone}.yaml")
    config = plain({"run": "by hand", "model_name": name, "model": model, "backbone": backbone})
    cell = {
        "dataset": "by hand",
        "task": "segmentation",
        "num_classes": num_classes,
        "size": list(size),
        "decode_head": {},
    }
    return config, cell
