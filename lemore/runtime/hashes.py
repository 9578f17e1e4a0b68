"""Hashes of files by content: a file is read again only if its size or time of change differs."""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lemore.runtime.files import hash_file
from lemore.runtime.process import count_cores
from lemore.runtime.progress import show_progress

Stamps = dict[str, list[int]]  # by path: bytes, and time of change in nanoseconds
Hashes = dict[str, list]  # by path: bytes, time of change, sha256
SLOW = 1 << 30  # bytes whose reading is worth a line of progress


def stamp_files(folder: Path, names: Iterable[str]) -> Stamps:
    """Returns the stamps of files by their paths below a folder, [-1, 0] for a link to nothing."""
    return {name: _stamp(os.path.join(folder, name)) for name in names}


def _stamp(path: str) -> list[int]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return [-1, 0]
    return [status.st_size, status.st_mtime_ns]


def hash_files(folder: Path, stamps: Stamps, known: Mapping[str, list]) -> Hashes:
    """Hashes the files of some stamps. known: an earlier answer, valid where the stamps agree."""
    unread = [name for name, stamp in stamps.items() if known.get(name, [])[:2] != stamp]
    with ThreadPoolExecutor(count_cores()) as pool:
        read = pool.map(hash_file, [folder / name for name in unread])
        if sum(stamps[name][0] for name in unread) > SLOW:
            read = show_progress(read, f"read {folder}", len(unread), "file")
        fresh = dict(zip(unread, read, strict=True))
    return {name: [*s, fresh.get(name) or known[name][2]] for name, s in stamps.items()}
