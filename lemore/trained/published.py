"""Turns published weights into a checkpoint; nothing in their file is executed."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.config.jobs import make_finetune_job
from lemore.config.read import load, plain
from lemore.config.recipe_files import load_recipe
from lemore.models.key_map import convert, find_key_map
from lemore.runtime import checkpoint
from lemore.trained.checkpoint import outline_tensors
from lemore.trained.folder import read_tensors

log = logging.getLogger(__name__)
WRAPPERS = ("state_dict", "model", "state_dict_ema")  # where files keep the tensors


def import_weights(file: Path, layout: str, model: str, dataset: str, output: Path) -> None:
    """Writes the tensors of `file` as a checkpoint of `model` for the classes of `dataset`.

    layout: the library whose names the tensors have. ValueError lists tensors that are unknown,
    missing or of another shape.
    """
    data = load(DatasetConfig, f"config/datasets/{dataset}.yaml")
    if data.task != "segmentation":
        raise ValueError(f"--dataset: {dataset} is not one of segmentation")
    recipe, _ = load_recipe(Path("config/recipes/paper"), dataset, model, {})
    init = f"file:{file.name}"
    job = make_finetune_job("imported", dataset, data.num_classes, model, recipe, init)
    key_map = find_key_map(job.model.decode_head, layout)
    source = f"{file} as {model} with the {job.num_classes} classes of {dataset}"
    state = convert(read_published(file), key_map, outline_tensors(job, source), source)
    table = labels.find_table(data)
    classes = {"names": table.names, "colors": table.colors}
    content = {"state_dict": state, "config": plain(job), "classes": plain(classes)}
    checkpoint.save(output, content)
    count = sum(tensor.numel() for tensor in state.values())
    print(f"{output}: {len(state)} tensors, {count} numbers, as {model} on {dataset}")


def read_published(path: Path) -> dict[str, Tensor]:
    """Reads a file's tensors by name; ValueError if there are none, or other values among them."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name the file of weights in it")
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    content = read_tensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for name in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: holds no tensors by name")
    for name, value in content.items():
        dense = isinstance(value, Tensor) and value.layout == torch.strided
        if not isinstance(name, str) or not dense:
            raise ValueError(f"{path}: {name!r} is no tensor, so this is not a model's weights")
    return content


class _LeftOut:
    """Stands in for an object of a class or function that a file names; nothing of it is run."""

    def __init__(self, *args: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _read_pickle(path: Path) -> Any:
    """The tensors of a file of torch.save. The logs, metrics and settings that a training stored
    with them as objects are left out."""
    names: list[str] = []  # of classes and functions, other than those of tensors
    with suppress(Exception):  # not the zip format, or broken: plain tensors, or `load` refuses it
        checkpoint.refuse_compressed(path)
        names = sorted(get_unsafe_globals_in_checkpoint(path))
    with safe_globals([(_LeftOut, name) for name in names]):
        content = checkpoint.load(path)
    if names:
        log.info("%s: left out what is made by %s", path, ", ".join(names))
    return content
