"""Tensors of a file that someone else published; nothing in it is executed."""

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from lemore.runtime.checkpoint import reason, refuse_compressed

log = logging.getLogger(__name__)
WRAPPERS = ("state_dict", "model", "state_dict_ema")  # where files keep the tensors


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name; ValueError if there are none, or something else among them."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name the file of weights in it")
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    for name in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: holds no tensors by name")
    odd = [name for name, value in content.items() if not _is_plain(name, value)]
    if odd:
        raise ValueError(f"{path}: {odd[0]!r} is no tensor, so this is not a model's weights")
    return content


def _is_plain(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor) and value.layout == torch.strided


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from None


class _LeftOut:
    """Stands in for an object of a class or function that a file names and nobody calls."""

    def __init__(self, *args: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _pickled(path: Path) -> Any:
    """Files of a training also hold its logs, metrics and settings as objects: left out."""
    try:
        refuse_compressed(path)
        names = _foreign_names(path)
        with safe_globals([(_LeftOut, name) for name in names]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds for a broken or foreign file
        raise ValueError(
            f"{path}: not a readable checkpoint of plain tensors ({reason(error)})"
        ) from None
    if names:
        log.info("%s: left out what is made by %s", path, ", ".join(names))
    return content


def _foreign_names(path: Path) -> list[str]:
    """Classes and functions that a file names, other than those of tensors."""
    try:
        return sorted(get_unsafe_globals_in_checkpoint(path))
    except ValueError:  # not the zip format: read as plain tensors or not at all
        return []
