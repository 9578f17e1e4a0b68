"""Finds backbones and heads by the name of their file; imports only the requested one."""

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from lemore.config.read import did_you_mean
from lemore.config.size import Size

if TYPE_CHECKING:
    from torch import nn

GIVEN_BY_RUN = ("input_size", "drop_path", "channels", "num_classes")


def list_modules(kind: str) -> list[str]:
    """Lists the modules of a kind: `backbone`, `decode_head` or `detection_head`."""
    folder = Path(__file__).parent / f"{kind}s"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def build_backbone(
    module: str,
    arguments: Mapping[str, Any],
    *,
    input_size: Size,
    drop_path: float,
    source: str = "build_backbone",
) -> "nn.Module":
    """Builds a backbone for images of `input_size`: B 3 H W -> feature maps, fine to coarse.

    ValueError names `source`, the wrong argument and the nearest known one.
    """
    given = {"input_size": input_size, "drop_path": drop_path}
    return _build("backbone", module, arguments, given, source)


def build_decode_head(
    module: str,
    arguments: Mapping[str, Any],
    *,
    channels: tuple[int, ...],
    num_classes: int,
    source: str = "build_decode_head",
) -> "nn.Module":
    """Builds a decode head for feature maps of `channels`: feature maps -> logits B K h w.

    Every head takes `dropout`. ValueError as in `build_backbone`.
    """
    given = {"channels": channels, "num_classes": num_classes, "dropout": 0.1}
    return _build("decode_head", module, arguments, given, source)


def build_detection_head(
    module: str,
    arguments: Mapping[str, Any],
    *,
    channels: tuple[int, ...],
    num_classes: int,
    source: str = "build_detection_head",
) -> "nn.Module":
    """Builds a detection head for feature maps of `channels`: feature maps -> its raw outputs.

    ValueError as in `build_backbone`.
    """
    given = {"channels": channels, "num_classes": num_classes}
    return _build("detection_head", module, arguments, given, source)


def _build(
    kind: str, module: str, arguments: Mapping[str, Any], given: dict[str, Any], source: str
) -> "nn.Module":
    """Calls the module's `build` with its arguments and those of `given` that it takes."""
    known = list_modules(kind)
    if module not in known:
        raise ValueError(f"{source}: there is no {kind} '{module}'{did_you_mean(module, known)}")
    build = importlib.import_module(f"lemore.models.{kind}s.{module}").build
    parameters = inspect.signature(build).parameters
    free = [name for name in parameters if name not in GIVEN_BY_RUN]
    for key in arguments:
        if key in GIVEN_BY_RUN:
            raise ValueError(f"{source}: '{key}' is set by the run; remove it from 'arguments'")
        if key not in free and key not in given:
            raise ValueError(
                f"{source}: {kind} '{module}' has no argument '{key}'{did_you_mean(key, free)}"
            )
    for name in free:
        required = parameters[name].default is inspect.Parameter.empty
        if required and name not in arguments and name not in given:
            raise ValueError(f"{source}: {kind} '{module}' needs the argument '{name}'")
    for key, value in arguments.items():
        if (choices := _list_choices(parameters.get(key))) and value not in choices:
            known_values = ", ".join(map(str, choices))
            raise ValueError(
                f"{source}: {kind} '{module}': {key} is {value!r}, expected one of {known_values}"
            )
    values = given | dict(arguments)
    return build(**{key: value for key, value in values.items() if key in parameters})


def _list_choices(parameter: inspect.Parameter | None) -> tuple[Any, ...]:
    """Lists the values that a parameter's annotation names, if any."""
    annotation = parameter.annotation if parameter else None
    if annotation is bool:
        return (True, False)
    return get_args(annotation) if get_origin(annotation) is Literal else ()
