"""Files written whole or not at all."""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NOT_UTF8 = "is not text in UTF-8; save it in that encoding"
# Files and folders that systems leave beside a user's; so are names that begin with a dot.
JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin"}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomic(path: Path | str, data: bytes | str, durable: bool = True) -> None:
    """Writes `data` to `path` so that a reader, or a crash, sees the old file or the new one.

    A temporary file in the same folder is synced and renamed, then the folder is synced. Without
    `durable`, for files that every start makes again, nothing is synced. OSError with path and
    bytes if the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    content = data.encode() if isinstance(data, str) else data
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in FULL:
            free = shutil.disk_usage(path.parent).free
            text = f"no space left for {path}: {len(content)} bytes to write, {free} free"
            raise OSError(error.errno, f"{text}; what was there is kept") from None
        raise
    finally:
        temporary.unlink(missing_ok=True)
    if not durable:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def open_temporary(path: Path) -> Iterator[Path]:
    """Yields a file's temporary path, which replaces `path` if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Removes what a killed `write_atomic` left in `folder`, in which nobody else writes now."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` as indented JSON by `write_atomic`; refuses NaN and infinity."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Returns the JSON in `path`; ValueError naming the file if it is missing or broken."""
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"{path}: not valid JSON ({error}); remove it and rerun its rule"
        ) from None


def decode_text(data: bytes, place: Path | str) -> str:
    """Decodes UTF-8 with or without a byte order mark, in any locale; ValueError names `place`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{place}: {NOT_UTF8}") from None


def hash_file(path: Path | str) -> str:
    """Returns the hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def walk_files(folder: Path) -> Iterator[str]:
    """Yields the paths below a folder of its files, in a stable order, without junk.

    Links are followed; one to a folder that was walked already is left out, one to nothing is not.
    """
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_junk(name))
        inner = "" if Path(parent) == folder else Path(parent).relative_to(folder).as_posix() + "/"
        for name in sorted(files):
            path = os.path.join(parent, name)
            if not is_junk(name) and (os.path.isfile(path) or not os.path.exists(path)):
                yield inner + name


def is_junk(name: str) -> bool:
    """Returns whether a file is hidden, or left by a system, or in such a folder."""
    parts = [part for part in name.split("/") if part != "."]
    return any(part.startswith(".") or part.lower() in JUNK for part in parts)


def is_web_page(data: bytes) -> bool:
    """Returns whether a file begins as HTML or XML, which servers send for missing files."""
    start = data[:512].lstrip().lower()
    page = start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml"))
    return page and b"<svg" not in start


def key_of(*parts: Any) -> str:
    """Returns the SHA-256 of values that JSON has, and of dataclasses of them."""

    def expand(value: Any) -> Any:
        return vars(value) if dataclasses.is_dataclass(value) else str(value)

    text = json.dumps(parts, sort_keys=True, default=expand)
    return hashlib.sha256(text.encode()).hexdigest()
