"""Finds the images and videos of a command line, and names for their outputs."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lemore.trained.predict import photos, video

SUFFIXES = (*photos.SUFFIXES, *video.SUFFIXES)


@dataclass(frozen=True)
class InputFile:
    """A file, and the folder that its argument named: for a file, the one it lies in.

    chosen: by its own name, not with a folder or pattern.
    """

    path: Path
    base: Path
    chosen: bool = False


def find_inputs(
    arguments: Iterable[str], output: Path
) -> tuple[list[InputFile], list[tuple[str, str]]]:
    """Returns (files, (argument, problem) of arguments without files), in the order given.

    An argument is a file, a folder (its images and videos, and those in its subfolders, sorted) or
    a pattern with `*`, `?`, `[...]` and `**`. No file is returned twice. In folders and patterns,
    hidden files and those in the `output` folder are skipped.
    """
    files: dict[Path, InputFile] = {}
    problems, own = [], _absolute(output)
    for argument in arguments:
        try:
            named = list(_find_named(argument))
            found = [i for i in named if i.chosen or not _absolute(i.path).is_relative_to(own)]
        except (OSError, ValueError) as error:  # unreadable, too long, or `**` amid a name
            problems.append((argument, getattr(error, "strerror", None) or str(error)))
            continue
        if not found:
            problems.append((argument, _nothing(argument)))
        for item in found:
            files.setdefault(_absolute(item.path), item)
    return list(files.values()), problems


def split_list(data: bytes) -> list[str]:
    """Splits a list of paths: one a line, or ended by NUL as `find -print0` writes them."""
    parts = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [os.fsdecode(part) for part in parts if part.strip()]


def _find_named(argument: str) -> Iterator[InputFile]:
    path = Path(argument)
    if path.is_dir():
        yield from _in_folder(path)
    elif path.exists():
        yield InputFile(path, path.parent, chosen=True)
    elif glob.has_magic(argument):
        yield from _matching(path)


def _absolute(path: Path) -> Path:
    """Makes two spellings of a path one: removes `..`, keeps links."""
    return Path(os.path.abspath(path))


def _matching(pattern: Path) -> Iterator[InputFile]:
    """Yields a pattern's files; its base is the folder before the first wildcard. Skips hidden
    files; `**` follows no links, so that the search ends."""
    fixed = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    base = Path(*pattern.parts[:fixed])
    for path in sorted(base.glob(str(Path(*pattern.parts[fixed:])))):
        hidden = any(part.startswith(".") for part in path.relative_to(base).parts)
        if path.is_file() and not hidden:
            yield InputFile(path, base)


def _in_folder(folder: Path) -> Iterator[InputFile]:
    # Links to folders are not followed, so that the search ends.
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield InputFile(Path(place, name), folder)


def _raise(error: OSError) -> None:
    raise error


def _nothing(argument: str) -> str:
    if os.path.isdir(argument):
        return f"no image or video in this folder (looked for {', '.join(SUFFIXES)})"
    return "no file matches" if glob.has_magic(argument) else "no such file or folder"


def name_outputs(found: list[InputFile]) -> list[str]:
    """Returns a different name for each file's outputs, as a relative path without suffix.

    It is the file's path in the given folder; where two are equal, suffixes are kept, or paths
    start at the deepest folder that all have in common.
    """
    if not found:
        return []
    common = Path(os.path.commonpath([_absolute(item.base) for item in found]))
    ways: tuple[Callable[[InputFile], Path], ...] = (
        lambda item: item.path.relative_to(item.base).with_suffix(""),
        lambda item: item.path.relative_to(item.base),
        lambda item: _absolute(item.path).relative_to(common).with_suffix(""),
        lambda item: _absolute(item.path).relative_to(common),
    )
    for way in ways:
        names = [str(way(item)) for item in found]
        known = set(names)  # none is a folder that another lies in: a video's frames have one
        nested = any(str(folder) in known for name in names for folder in Path(name).parents)
        if len(known) == len(names) and not nested:
            return names
    raise AssertionError("different files have different paths")
