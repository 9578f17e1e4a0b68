"""Zip, tar, gzip and .mat files whose bytes depend on their content alone: no clock, no owner."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from scipy.io import savemat

from lemore.runtime.files import write_atomic

DATE = (2020, 1, 1, 0, 0, 0)
SECONDS = 1577836800  # the same moment
Files = list[tuple[str, bytes]]  # path in the archive, content


def zip_bytes(files: Files) -> bytes:
    """A zip of the files in the given order, not compressed further."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, content)
    return buffer.getvalue()


def tar_bytes(files: Files) -> bytes:
    """A plain tar of the files in the given order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), SECONDS, 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def gzip_bytes(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def mat_bytes(values: dict[str, Any]) -> bytes:
    """A MATLAB 5 file; its 116 bytes of description would hold the date."""
    buffer = io.BytesIO()
    savemat(buffer, values, do_compression=True)
    return b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:]


def write_files(folder: Path, files: Files) -> list[Path]:
    """Writes finished archives into a folder; returns their paths."""
    for name, content in files:
        write_atomic(folder / name, content)
    return [folder / name for name, _ in files]
