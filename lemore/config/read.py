"""Strict YAML to frozen dataclasses: unknown keys, and values that a key may not hold, are refused.

What a key may hold is its annotation, with bounds from `lemore.config.values`.
"""

import argparse
import dataclasses
import difflib
import functools
import math
import reprlib
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from lemore.config.values import Count, describe, holds, take_apart
from lemore.runtime.files import decode_text
from lemore.runtime.shipped import find_file, list_names

T = TypeVar("T")


class _Loader(yaml.CSafeLoader):
    """Safe loader that refuses a key given twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            line = key_node.start_mark.line + 1
            raise ValueError(f"line {line}: key '{key}' is given twice")
        seen.add(key)
    return loader.construct_mapping(node)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Reads the mapping in a YAML file; ValueError names file and line if it holds none.

    A file config/... that is not in the working folder is the package's own.
    """
    path = find_file(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file{_nearest_file(path)}") from None
    return parse_mapping(data, path)


def parse_mapping(data: bytes, place: Path | str) -> dict[str, Any]:
    """Parses the mapping in a YAML file's bytes; ValueError names `place` and line if there is
    none."""
    text = decode_text(data, place)
    try:
        values = yaml.load(text, _Loader)
    except (yaml.YAMLError, TypeError) as error:  # TypeError: a list as a key
        fault = str(error).replace(' in "<unicode string>"', "")
        raise ValueError(f"{place}: not valid YAML: {fault}") from None
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{place}: expected 'key: value' lines, found {type(values).__name__}")
    return values


def parse_yaml(text: str, source: str) -> Any:
    """Parses a piece of YAML; ValueError names its source if that fails."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise ValueError(f"{source} is '{text}', not valid YAML: {error}") from None


def load(cls: type[T], path: Path | str) -> T:
    """Builds dataclass `cls` from a YAML file; every mistake is a ValueError with file and key."""
    return build(cls, read_yaml(path), str(path))


def build(cls: type[T], values: Mapping[str, Any], source: str, prefix: str = "") -> T:
    """Builds dataclass `cls` from a mapping. `source` and `prefix` name the place in messages.

    A ValueError of its `__post_init__` begins with the key, to which the place is added here. A
    class whose older files have other keys translates them in its `renew(values)`.
    """
    renew = getattr(cls, "renew", None)
    values = renew(values) if renew and isinstance(values, Mapping) else values
    made = convert_keys(cls, values, source, prefix)
    for field in dataclasses.fields(typing.cast(Any, cls)):
        required = field.default is MISSING and field.default_factory is MISSING
        if required and field.name not in made:
            raise ValueError(f"{source}: missing key '{prefix}{field.name}'")
    try:
        return cls(**made)
    except ValueError as error:
        raise ValueError(f"{source}: {prefix}{error}") from None


def convert_keys(cls: type, values: Any, source: str, prefix: str = "") -> dict[str, Any]:
    """Converts those keys of a dataclass that are given, for a file that others are laid on."""
    hints = _get_hints(cls)
    if not isinstance(values, Mapping):
        raise _wrong(source, prefix.removesuffix("."), values, "a mapping")
    for key in values:
        if key not in hints:
            raise ValueError(
                f"{source}: unknown key '{prefix}{key}'{did_you_mean(str(key), hints)}"
            )
    return {key: convert(hints[key], values[key], source, prefix + key) for key in values}


@functools.cache
def _get_hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def convert(hint: Any, value: Any, source: str, key: str) -> Any:
    """Converts to `hint`: bool, int, float, str, Literal, X | None, tuple, dict, dataclass, or one
    of them with bounds."""
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        return _convert_bounded(hint, value, source, key)
    if origin in (Union, types.UnionType):
        return _convert_union(hint, value, source, key)
    if origin is Literal:
        if not any(value == known and type(value) is type(known) for known in get_args(hint)):
            raise _wrong(source, key, value, f"one of {', '.join(map(str, get_args(hint)))}")
        return value
    if origin is tuple:
        return _convert_tuple(hint, value, source, key)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(typing.cast(type, hint), value, source, key + ".")
    if origin is dict and isinstance(value, Mapping):
        of_key, of_value = get_args(hint)
        pairs = [(k, v, f"{key}.{k}") for k, v in value.items()]
        return {convert(of_key, k, source, p): convert(of_value, v, source, p) for k, v, p in pairs}
    if origin is dict or dataclasses.is_dataclass(hint):
        raise _wrong(source, key, value, "a mapping")
    return _convert_plain(hint, value, source, key)


def _convert_bounded(hint: Any, value: Any, source: str, key: str) -> Any:
    kind, constraints = take_apart(hint)
    made = convert(kind, value, source, key)
    if not all(holds(constraint, made) for constraint in constraints):
        raise _wrong(source, key, value, describe(kind, constraints))
    return made


def _convert_plain(hint: Any, value: Any, source: str, key: str) -> Any:
    if hint is float and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            number = float(value)  # YAML 1.1 reads 1e-4 as text
        except (ValueError, OverflowError):
            raise _wrong(source, key, value, "a number") from None
        if not math.isfinite(number):
            raise _wrong(source, key, value, "a finite number")
        return number
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
        raise _wrong(source, key, value, names.get(hint, str(hint)))
    return value


def _convert_union(hint: Any, value: Any, source: str, key: str) -> Any:
    options = [option for option in get_args(hint) if option is not type(None)]
    if value is None and len(options) < len(get_args(hint)):
        return None
    if isinstance(value, Mapping):  # a mistake in a mapping is told as one of a mapping
        options.sort(key=lambda option: get_origin(option) is Literal)
    mistakes: list[ValueError] = []
    for option in options:
        try:
            return convert(option, value, source, key)
        except ValueError as mistake:
            mistakes.append(mistake)
    raise mistakes[0]


def _convert_tuple(hint: Any, value: Any, source: str, key: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _wrong(source, key, value, "a list")
    parts = get_args(hint)
    if len(parts) == 2 and parts[1] is Ellipsis:
        parts = (parts[0],) * len(value)
    if len(parts) != len(value):
        raise _wrong(source, key, value, f"a list of {len(parts)}")
    pairs = zip(parts, value, strict=True)
    return tuple(convert(p, v, source, f"{key}[{i}]") for i, (p, v) in enumerate(pairs))


def _wrong(source: str, key: str, value: Any, expected: str) -> ValueError:
    printer = reprlib.Repr()  # YAML's references can stand for gigabytes
    printer.maxlevel, printer.maxstring = 3, 150
    found = textwrap.shorten(printer.repr(value), 200)
    return ValueError(f"{source}: {key} is {found}, expected {expected}")


def check_gpus(gpus: float, workers: int, source: str, key: str, most: int | None = None) -> None:
    """Raises ValueError if `workers` cannot get `gpus` each. most: all GPUs ever, if known."""
    if not (0 <= gpus <= 1 or (gpus > 1 and gpus.is_integer())):
        expected = "0, a share of one GPU (0.5), or a whole number; a worker computes on one"
        raise _wrong(source, key, gpus, expected)
    if workers > 1 and 0 < gpus < 1:
        expected = f"1 with {workers} workers, which cannot share one; or set workers to 1"
        raise _wrong(source, key, gpus, expected)
    if most is not None and gpus * workers > most:
        raise ValueError(
            f"{source}: {key} is {gpus:g} for {workers} worker(s), but there are {most} GPUs; "
            "lower it (0 trains on the CPU) or workers, or set RAY_ADDRESS to a cluster with more"
        )


def option(hint: Any) -> Callable[[str], Any]:
    """Makes the parser of a command line's option that may hold what a key of this type may."""
    kind, constraints = take_apart(hint)

    def parse(text: str) -> Any:
        try:
            return convert(hint, kind(text), "", "")
        except ValueError:
            expected = describe(kind, constraints)
            raise argparse.ArgumentTypeError(f"'{text}', expected {expected}") from None

    return parse


positive = option(Count)


def did_you_mean(name: str, known: typing.Iterable[str]) -> str:
    """Returns `; did you mean '...'?` with the nearest known name, else all known names."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"


def _nearest_file(path: Path) -> str:
    known = list_names(path.parent)
    if not known and not path.parent.is_dir():
        return f" (nor is there a folder {path.parent})"
    return did_you_mean(path.name, [f"{name}.yaml" for name in known])


def dump(value: Any) -> str:
    """Returns dataclasses, mappings and tuples as canonical YAML."""
    return yaml.dump(plain(value), Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True)


def plain(value: Any) -> Any:
    """Returns a value with dataclasses as mappings and tuples as lists, all the way down."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
