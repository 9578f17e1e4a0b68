"""Finds the images and videos that a command line means, and names their outputs."""

import codecs
import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lemore.data.archives import images
from lemore.runtime.files import is_junk
from lemore.trained.predict import video

SUFFIXES = (*images.SUFFIXES, *video.SUFFIXES)


@dataclass(frozen=True)
class InputFile:
    """An input and its base, the folder that its argument named or that the file lies in.

    chosen: it was given by its own name, not by a folder or pattern.
    """

    path: Path
    base: Path
    chosen: bool = False


def find_inputs(
    arguments: Iterable[str], output: Path
) -> tuple[list[InputFile], list[tuple[str, str]]]:
    """Returns the files, each once and in the order given, and the arguments without a file, each
    with the reason.

    An argument is a file, a folder (its images and videos, and those in its subfolders, sorted) or
    a pattern with `*`, `?`, `[...]` and `**`. Files in the `output` folder are left out of folders
    and patterns, since they were made from the others, and so are hidden files.
    """
    files: dict[Path, InputFile] = {}
    problems = []
    output = _make_absolute(output)
    for argument in arguments:
        try:
            found = [
                item
                for item in _expand(argument)
                if item.chosen or not _make_absolute(item.path).is_relative_to(output)
            ]
        except (OSError, ValueError) as error:  # may not be read, is too long, `**` amid a name
            problems.append((argument, getattr(error, "strerror", None) or str(error)))
            continue
        if not found:
            problems.append((argument, _explain_nothing(argument)))
        for item in found:
            files.setdefault(_make_absolute(item.path), item)
    return list(files.values()), problems


def split_list(data: bytes) -> list[str]:
    """Splits a list of paths: one a line, or ended by NUL as `find -print0` writes them."""
    data = data.removeprefix(codecs.BOM_UTF8)
    parts = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [os.fsdecode(part) for part in parts if part.strip()]


def _make_absolute(path: Path) -> Path:
    """The path without `..`, so that two spellings are equal; links are not followed."""
    return Path(os.path.abspath(path))


def _expand(argument: str) -> Iterator[InputFile]:
    path = Path(argument)
    if path.is_dir():
        yield from _walk_folder(path)
    elif path.exists():
        yield InputFile(path, path.parent, chosen=True)
    elif glob.has_magic(argument):
        yield from _match_pattern(path)


def _match_pattern(pattern: Path) -> Iterator[InputFile]:
    """The files of a pattern; their base is the folder before the first wildcard. `**` does not
    follow links, so the search ends; hidden files are left out."""
    fixed = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    base = Path(*pattern.parts[:fixed])
    for path in sorted(base.glob(str(Path(*pattern.parts[fixed:])))):
        if path.is_file() and not is_junk(path.relative_to(base).as_posix()):
            yield InputFile(path, base)


def _walk_folder(folder: Path) -> Iterator[InputFile]:
    """The images and videos below a folder; links to folders are not followed, so the walk ends."""
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not is_junk(name))
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not is_junk(name):
                yield InputFile(Path(place, name), folder)


def _raise(error: OSError) -> None:
    raise error


def _explain_nothing(argument: str) -> str:
    if os.path.isdir(argument):
        return f"no image or video in this folder (looked for {', '.join(SUFFIXES)})"
    return "no file matches" if glob.has_magic(argument) else "no such file or folder"


def name_outputs(found: list[InputFile]) -> list[str]:
    """Returns a different name for each file's outputs, as a relative path without suffix.

    The name is the file's place in the folder that was given. Where two would be the same, or one
    would be a folder of another (a video's frames have a folder), the suffixes are kept, or the
    place is that in the deepest folder common to all.
    """
    if not found:
        return []
    common = Path(os.path.commonpath([_make_absolute(item.base) for item in found]))
    ways: tuple[Callable[[InputFile], Path], ...] = (
        lambda item: item.path.relative_to(item.base).with_suffix(""),
        lambda item: item.path.relative_to(item.base),
        lambda item: _make_absolute(item.path).relative_to(common).with_suffix(""),
        lambda item: _make_absolute(item.path).relative_to(common),
    )
    for way in ways:
        names = [str(way(item)) for item in found]
        known = set(names)
        nested = any(str(folder) in known for name in names for folder in Path(name).parents)
        if len(known) == len(names) and not nested:
            return names
    raise AssertionError("different files have different paths")
