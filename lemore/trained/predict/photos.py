"""Reads photographs of any origin as upright RGB, or says why not."""

import stat
from pathlib import Path

import numpy as np

from lemore.data.archives.images import decode_photo

MAX_BYTES = 1 << 30


def read_photo(path: Path) -> np.ndarray:
    """Reads H W 3 uint8 RGB from a JPEG, PNG, WebP, BMP or TIFF file.

    An EXIF orientation is applied, so that the picture is upright; gray becomes RGB, 16 bits become
    8, alpha is dropped, and of several pages the first is read. ValueError says what is wrong.
    """
    return decode_photo(read_regular(path, MAX_BYTES))


def read_regular(path: Path, limit: int, length: int = -1) -> bytes:
    """Reads the first `length` bytes of a file (-1: all); ValueError for pipes, devices and files
    larger than `limit` bytes."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise ValueError("is no regular file")
    if info.st_size > limit:
        raise ValueError(f"is larger than {limit:,} bytes")
    with open(path, "rb") as file:
        return file.read(length)
