"""Files inside a zip, a tar or a folder, read in place and never unpacked.

A member is refused by name when unpacking it could do harm: absolute paths, `..`, links, devices,
absurd sizes.
"""

import functools
import os
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal, NoReturn

from lemore.runtime.files import is_junk, walk_files

MAX_MEMBER = 4 << 30  # bytes; the largest genuine member is a merged JSON of about a gigabyte
MAX_UNPACKED = 256 << 20  # bytes of a compressed tar that is read whole: kits, .mat labels
MAX_RATIO = 200  # unpacked to packed, for members above a MiB: photos and masks stay far below
MAX_MEMBERS = 5_000_000  # three times ImageNet
GZIP = b"\x1f\x8b"
# zipfile and tarfile raise these on damaged files (UnicodeDecodeError for a name,
# NotImplementedError for an unknown compression).
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError),
    *(UnicodeDecodeError, NotImplementedError),
)


@dataclass(frozen=True, slots=True)
class Member:
    """One file: `name` inside its container, and where its bytes lie. Picklable."""

    name: str
    container: str
    kind: Literal["file", "zip", "tar", "bytes"]
    size: int
    offset: int = 0
    data: bytes = b""

    @property
    def place(self) -> str:
        """Path for messages."""
        joiner = "/" if self.kind == "file" else ": "
        return f"{self.container}{joiner}{self.name}"

    def read(self) -> bytes:
        """The whole content; ValueError if it is cut short or fails its checksum."""
        if self.kind == "bytes":
            return self.data
        if self.kind == "file":
            return (Path(self.container) / self.name).read_bytes()
        if self.kind == "zip":
            try:
                return _open_zip(self.container, os.getpid()).read(self.name)
            except DAMAGED as error:
                raise ValueError(f"{self.place}: damaged in the archive ({error})") from None
        with open(self.container, "rb") as file:
            data = os.pread(file.fileno(), self.size, self.offset)
        if len(data) != self.size:
            raise ValueError(f"{self.place}: {len(data)} of {self.size} bytes, archive cut short")
        return data


@functools.lru_cache(maxsize=4)
def _open_zip(path: str, process: int) -> zipfile.ZipFile:
    """Opens a zip once per process: a file position must not be shared with the parent."""
    del process
    return zipfile.ZipFile(path)


def list_members(path: Path | str) -> Iterator[Member]:
    """Lists the regular files of a folder, zip, tar or compressed tar, in a stable order.

    Hidden files and those that systems leave are passed over. ValueError if the archive is cut
    short or damaged, or a member is unsafe.
    """
    return (member for member in _list_all(Path(path)) if not is_junk(member.name))


def normalize_name(name: str) -> str:
    """Returns a name in Unicode's composed form: macOS writes "ü" as "u" with a mark."""
    return unicodedata.normalize("NFC", name)


def _list_all(path: Path) -> Iterator[Member]:
    if path.is_dir():
        yield from _list_folder(path)
    elif path.suffix == ".zip":
        yield from _list_zip(path)
    elif path.suffix in (".tar", ".gz", ".tgz"):
        with open(path, "rb") as file:
            packed = file.read(2) == GZIP
        yield from _list_packed_tar(path) if packed else list_tar_members(path)
    else:
        yield Member(path.name, str(path.parent), "file", path.stat().st_size)


def _list_folder(folder: Path) -> Iterator[Member]:
    for name in walk_files(folder):
        path = folder / name
        _require_text(folder, name)
        if not path.exists():
            raise ValueError(f"{path}: is a link to a file that is not there")
        yield Member(name, str(folder), "file", path.stat().st_size)


def _list_zip(path: Path) -> Iterator[Member]:
    with _refuse_damaged(path, "zip"):
        entries = _open_zip(str(path), os.getpid()).infolist()
    seen: set[str] = set()
    for entry in entries:
        if entry.is_dir():
            continue
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            _refuse(path, entry.filename, "is a link or device")
        if entry.flag_bits & 1:
            _refuse(path, entry.filename, "is encrypted")
        packed = max(entry.compress_size, 1)
        if entry.file_size > 1 << 20 and entry.file_size / packed > MAX_RATIO:
            _refuse(path, entry.filename, f"unpacks to {entry.file_size} bytes")
        _check(path, entry.filename, entry.file_size, seen)
        yield Member(entry.filename, str(path), "zip", entry.file_size)


def list_tar_members(path: Path, start: int = 0, size: int | None = None) -> Iterator[Member]:
    """Lists the members of the uncompressed tar in `size` bytes of `path` from `start` on."""
    limit = path.stat().st_size if size is None else start + size
    with _refuse_damaged(path, "tar"), open(path, "rb") as file:
        file.seek(start)
        end = start
        with tarfile.open(fileobj=file, mode="r:") as tar:
            own = takewhile(lambda entry: entry.offset < limit, tar)  # not an outer tar's next file
            for entry in _check_entries(path, own):
                yield Member(entry.name, str(path), "tar", entry.size, entry.offset_data)
                end = entry.offset_data + -(-entry.size // 512) * 512
                if end > limit:
                    raise tarfile.ReadError(f"cut short in '{entry.name}'")
        file.seek(end)
        if size is None and file.read(512) != bytes(512):
            raise tarfile.ReadError("its closing blocks are missing")


def _list_packed_tar(path: Path) -> Iterator[Member]:
    """Reads a small compressed tar whole; refuses larger ones, which have no random access."""
    total = 0
    with _refuse_damaged(path, "tar"), tarfile.open(path, "r:*") as tar:
        for entry in _check_entries(path, tar):
            total += entry.size
            if total > MAX_UNPACKED:
                raise ValueError(
                    f"{path}: more than {MAX_UNPACKED} bytes packed; unpack it by hand"
                )
            stream = tar.extractfile(entry)
            assert stream is not None
            yield Member(entry.name, str(path), "bytes", entry.size, data=stream.read())


@contextmanager
def _refuse_damaged(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise ValueError(f"{path}: not a whole {kind} file ({error}); fetch it again") from None


def _check_entries(path: Path, entries: Iterable[tarfile.TarInfo]) -> Iterator[tarfile.TarInfo]:
    """Yields the entries of a tar that are no folders; ValueError for an unsafe one."""
    seen: set[str] = set()
    for entry in entries:
        if entry.isdir():
            continue
        if not entry.isreg() or entry.issparse():
            _refuse(path, entry.name, "is a link or device")
        _check(path, entry.name, entry.size, seen)
        yield entry


def _check(path: Path, name: str, size: int, seen: set[str]) -> None:
    if name.startswith("/") or "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name):
        _refuse(path, name, "has an absolute or foreign path")
    _require_text(path, name)
    if ".." in name.split("/"):
        _refuse(path, name, "climbs out of its folder")
    if not 0 <= size <= MAX_MEMBER:
        _refuse(path, name, f"claims {size} bytes")
    if name in seen:
        _refuse(path, name, "occurs twice")
    if len(seen) == MAX_MEMBERS:
        raise ValueError(
            f"{path}: more than {MAX_MEMBERS:,} members; this is not the genuine archive"
        )
    seen.add(name)


def _require_text(path: Path, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8, as the system and tarfile show them
        raise ValueError(f"{path}: the name {name!r} is not UTF-8; rename it") from None


def _refuse(path: Path, name: str, why: str) -> NoReturn:
    raise ValueError(f"{path}: member '{name[:200]}' {why}; this is not the genuine archive")
