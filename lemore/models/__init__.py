"""Finds backbones and decode heads by the name of their file; imports only the one asked for."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lemore.config.read import did_you_mean

if TYPE_CHECKING:
    from torch import nn

GIVEN_BY_RUN = ("input_size", "drop_path", "channels", "num_classes")


def names(kind: str) -> list[str]:
    """Modules of a kind: `backbone` or `decode_head`."""
    folder = Path(__file__).parent / f"{kind}s"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def build_backbone(
    module: str, *, input_size: tuple[int, int], drop_path: float, **arguments: Any
) -> "nn.Module":
    """Backbone for images of `input_size` (H, W): B 3 H W -> feature maps, fine to coarse."""
    build = _build_function("backbone", module, "build_backbone")
    return build(input_size=input_size, drop_path=drop_path, **arguments)


def build_decode_head(
    module: str,
    *,
    channels: tuple[int, ...],
    num_classes: int,
    dropout: float = 0.1,
    **arguments: Any,
) -> "nn.Module":
    """Decode head for feature maps of `channels`: feature maps -> logits B K h w."""
    build = _build_function("decode_head", module, "build_decode_head")
    return build(channels=channels, num_classes=num_classes, dropout=dropout, **arguments)


def check_arguments(kind: str, module: str, arguments: Mapping[str, Any], source: str) -> None:
    """Compares arguments with the signature of the module's `build`.

    kind: `backbone` or `decode_head`. ValueError names `source`, the key and the nearest one.
    """
    parameters = inspect.signature(_build_function(kind, module, source)).parameters
    free = [name for name in parameters if name not in GIVEN_BY_RUN]
    for key in arguments:
        if key in GIVEN_BY_RUN:
            raise ValueError(f"{source}: '{key}' is set by the run; remove it from 'arguments'")
        if key not in free:
            raise ValueError(
                f"{source}: {kind} '{module}' has no argument '{key}'{did_you_mean(key, free)}"
            )
    for name in free:
        required = parameters[name].default is inspect.Parameter.empty and name != "dropout"
        if required and name not in arguments:
            raise ValueError(f"{source}: {kind} '{module}' needs the argument '{name}'")


def _build_function(kind: str, module: str, source: str) -> Callable[..., "nn.Module"]:
    known = names(kind)
    if module not in known:
        raise ValueError(f"{source}: there is no {kind} '{module}'{did_you_mean(module, known)}")
    return importlib.import_module(f"lemore.models.{kind}s.{module}").build
