"""Renames the weights of another implementation; a tensor without a place in ours is refused."""

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

LISTED = 8
Rename = tuple[str, str | Callable[[re.Match[str]], str]]


@dataclass(frozen=True)
class KeyMap:
    """The changes of tensor names.

    renames: (pattern, replacement) for `re.sub`, applied in this order to every name. Names that
        end in `#0`, `#1`, ... afterwards are parts of one tensor, joined along the first axis.
    ignored: patterns of names that have no effect on the output; matched at their start.
    splits: (pattern, replacements): before the renames, such a tensor is cut along the first
        axis into as many equal parts as there are replacements, which name them.
    foreign: (pattern, what it is): a file with a name that starts like this is something else.
    """

    renames: tuple[Rename, ...]
    ignored: tuple[str, ...] = ()
    splits: tuple[tuple[str, tuple[str, ...]], ...] = ()
    foreign: tuple[tuple[str, str], ...] = ()

    def rename(self, name: str) -> str:
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name)
        return name

    def split(self, name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
        """Renames a tensor, and cuts it where `splits` says so."""
        for pattern, replacements in self.splits:
            if re.search(pattern, name) and tensor.ndim:
                pieces = (piece.clone() for piece in tensor.tensor_split(len(replacements)))
                names = (self.rename(re.sub(pattern, text, name)) for text in replacements)
                return list(zip(names, pieces, strict=True))
        return [(self.rename(name), tensor)]


def find_key_map(decode_head: str | None, layout: str) -> KeyMap:
    """Finds the names of a decode head's published weights in a library's layout.

    ValueError names what is known: files in lemore/models/import_maps, the layouts in each.
    """
    folder = Path(__file__).parent / "import_maps"
    known = sorted(path.stem for path in folder.glob("[!_]*.py"))
    if decode_head not in known:
        raise ValueError(
            f"no weights can be imported for decode head '{decode_head}', only for "
            + ", ".join(known)
        )
    maps = importlib.import_module(f"lemore.models.import_maps.{decode_head}").KEY_MAPS
    if layout not in maps:
        raise ValueError(
            f"decode head '{decode_head}' has no layout '{layout}', only {', '.join(maps)}"
        )
    return maps[layout]


def convert(
    state: Mapping[str, Tensor], key_map: KeyMap, target: Mapping[str, Tensor], source: str
) -> dict[str, Tensor]:
    """Returns `state` with the names, shapes and dtypes of `target` (the model's state dict).

    Shapes may differ by axes of length one (a linear layer is a 1x1 convolution).
    BatchNorm's counters of batches may be missing and are then 0.
    ValueError naming `source` lists tensors that are unknown, missing or of another shape.
    """
    for pattern, what in key_map.foreign:
        if any(re.match(pattern, name) for name in state):
            raise ValueError(f"{source}: {what}")
    found, unknown = _rename_all(state, key_map, target)
    absent = [name for name in target if name not in found]
    # BatchNorm's count of batches: no output depends on it, and some files leave it out.
    missing = [name for name in absent if not name.endswith("num_batches_tracked")]
    misshapen = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(target[name].shape)}"
        for name in target
        if name in found and _squeeze(found[name]) != _squeeze(target[name])
    ]
    problems = {"unknown": unknown, "missing": missing, "of another shape": misshapen}
    if any(problems.values()):
        raise ValueError(f"{source}: " + "; ".join(_list_problems(problems)))
    return {
        name: found[name].reshape(tensor.shape).to(tensor.dtype)
        if name in found
        else torch.zeros(tensor.shape, dtype=tensor.dtype)  # a counter
        for name, tensor in target.items()
    }


def _rename_all(
    state: Mapping[str, Tensor], key_map: KeyMap, target: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Returns tensors by new names, and the old names of those that the target lacks."""
    parts: dict[str, dict[int, Tensor]] = {}
    unknown = []
    for old, tensor in state.items():
        if any(re.match(pattern, old) for pattern in key_map.ignored):
            continue
        for full_name, piece in key_map.split(old, tensor):
            name, _, part = full_name.partition("#")
            if name not in target or "#" in old or int(part or 0) in parts.get(name, {}):
                unknown.append(old)
            else:
                parts.setdefault(name, {})[int(part or 0)] = piece
    joined = {name: _join(pieces) for name, pieces in parts.items() if 0 in pieces}
    return joined, list(dict.fromkeys(unknown))


def _join(pieces: dict[int, Tensor]) -> Tensor:
    """Joins the parts; returns the first alone, whose shape is refused, if they do not fit."""
    ordered = [pieces[i] for i in sorted(pieces)]
    if len({piece.shape for piece in ordered}) > 1 or not ordered[0].ndim:
        return ordered[0]
    return torch.cat(ordered)


def _squeeze(tensor: Tensor) -> tuple[int, ...]:
    return tuple(length for length in tensor.shape if length != 1)


def _list_problems(problems: Mapping[str, list[str]]) -> Iterable[str]:
    for kind, names in problems.items():
        if names:
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            yield f"{len(names)} tensors {kind}: {', '.join(names[:LISTED])}{more}"
