"""Zip, tar, gzip and .mat files whose bytes depend on their content alone: no clock, no owner."""

import io
import tarfile
import zipfile
from typing import Any

from scipy.io import savemat

SECONDS = 1577836800  # 1 January 2020
Files = list[tuple[str, bytes]]  # path in the archive, content


def pack_zip(files: Files) -> bytes:
    """Packs a zip of the files in the given order, not compressed further."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.external_attr, entry.create_system = 0o644 << 16, 3
            archive.writestr(entry, content)
    return buffer.getvalue()


def pack_tar(files: Files) -> bytes:
    """Packs a plain tar of the files in the given order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), SECONDS, 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def pack_mat(values: dict[str, Any]) -> bytes:
    """Packs a MATLAB 5 file without its 116 bytes of description, which would hold the date."""
    buffer = io.BytesIO()
    savemat(buffer, values, do_compression=True)
    return b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:]
