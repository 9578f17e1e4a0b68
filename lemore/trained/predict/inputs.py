"""Which images and videos a command line means, and what their outputs are called."""

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
    """(files, (argument, problem) of what names none), each file once, in the order given.

    An argument is a file, a folder (its images and videos, and those in its subfolders, sorted) or
    a pattern with `*`, `?`, `[...]` and `**`. What lies in the `output` folder is passed over in
    folders and patterns: it was made from the others. Hidden files in folders are, too.
    """
    files: dict[Path, InputFile] = {}
    problems = []
    for argument in arguments:
        try:
            found = [item for item in _named(argument) if not _lies_in(item, output)]
        except (OSError, ValueError) as error:  # may not be read, is too long, `**` amid a name
            problems.append((argument, getattr(error, "strerror", None) or str(error)))
            continue
        if not found:
            problems.append((argument, _nothing(argument)))
        for item in found:
            files.setdefault(_absolute(item.path), item)
    return list(files.values()), problems


def split_list(data: bytes) -> list[str]:
    """The paths of a list: one a line, or ended by NUL as `find -print0` writes them."""
    parts = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [os.fsdecode(part) for part in parts if part.strip()]


def _named(argument: str) -> Iterator[InputFile]:
    path = Path(argument)
    if path.is_dir():
        yield from _in_folder(path)
    elif path.exists():
        yield InputFile(path, path.parent, chosen=True)
    elif glob.has_magic(argument):
        yield from _matching(path)


def _lies_in(item: InputFile, output: Path) -> bool:
    return not item.chosen and _absolute(item.path).is_relative_to(_absolute(output))


def _absolute(path: Path) -> Path:
    """Without `..` and links as they are: two spellings of a path are one."""
    return Path(os.path.abspath(path))


def _matching(pattern: Path) -> Iterator[InputFile]:
    """Files of a pattern; its base is the folder before the first wildcard. `**` follows no links,
    so there is an end; hidden files are left out."""
    fixed = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    base = Path(*pattern.parts[:fixed])
    for path in sorted(base.glob(str(Path(*pattern.parts[fixed:])))):
        hidden = any(part.startswith(".") for part in path.relative_to(base).parts)
        if path.is_file() and not hidden:
            yield InputFile(path, base)


def _in_folder(folder: Path) -> Iterator[InputFile]:
    # Links to folders are not followed, so there is an end.
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
    """A different name for each file's outputs, as a relative path without suffix.

    The file's place in the folder that was given; where two would be the same, with the suffixes
    kept, or from the deepest folder that all have in common.
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
        if _apart(names):
            return names
    raise AssertionError("different files have different paths")


def _apart(names: list[str]) -> bool:
    """Whether all differ and none is a folder that another lies in (a video's frames have one)."""
    known = set(names)
    nested = any(str(folder) in known for name in names for folder in Path(name).parents)
    return len(known) == len(names) and not nested
