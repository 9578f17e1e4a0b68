"""Photographs of any origin: files read as upright RGB, or refused in words."""

import io
import stat
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from lemore.data.archives.images import JPEG, MAX_PIXELS, PNG, check_whole, decode_rgb
from lemore.runtime.files import is_web_page

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
OTHER_FORMATS = ("WEBP", "BMP", "TIFF")  # beside JPEG and PNG
KNOWN = "JPEG, PNG, WebP, BMP or TIFF"
TIFF = (b"II", b"MM")
MAX_BYTES = 1 << 30

# One error of ours replaces the messages of OpenCV's decoders about a damaged file.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_photo(path: Path) -> np.ndarray:
    """Reads H W 3 uint8 RGB from a JPEG, PNG, WebP, BMP or TIFF file.

    An EXIF orientation is applied, so that the picture is upright; gray becomes RGB, 16 bits become
    8, alpha is dropped, and of several pages the first is read. ValueError says what is wrong.
    """
    data = read_regular(path, MAX_BYTES)
    if data.startswith((JPEG, PNG)):
        check_whole(data)
    else:
        _check_header(data)
        if data.startswith(TIFF):
            return _decode_tiff(data)
    return decode_rgb(data)


def _decode_tiff(data: bytes) -> np.ndarray:
    """Decodes a TIFF with OpenCV, which reads the most kinds, but blends alpha with black."""
    with warnings.catch_warnings(action="ignore"), _open(data) as image:
        if not image.has_transparency_data:
            return decode_rgb(data)
        try:
            return rgb_of(image)
        except (OSError, SyntaxError) as error:
            raise ValueError(f"cannot be decoded as an image ({error})") from None


def rgb_of(image: Image.Image) -> np.ndarray:
    """Returns H W 3 uint8 RGB of a PIL image, as `read_photo` reads its file (of 16 bits, to 1);
    ValueError for a mode whose values have no known range."""
    if image.mode in ("I", "F"):
        raise ValueError(f"image is of PIL's mode {image.mode}, expected 8 or 16 bits a channel")
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        gray = (np.asarray(upright).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))


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


def _check_header(data: bytes) -> None:
    """Checks format and claimed size before anything is decoded."""
    if not data:
        raise ValueError("is empty")
    try:
        with warnings.catch_warnings(action="ignore"), _open(data) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise ValueError(f"claims more than {MAX_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, ValueError):
        raise ValueError(f"is not a whole {KNOWN} file{_hint(data)}") from None
    if width * height > MAX_PIXELS:
        raise ValueError(f"claims {height} x {width} pixels, more than {MAX_PIXELS:,}")


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=OTHER_FORMATS)


def _hint(data: bytes) -> str:
    """Says what the file is instead, if it is of a common kind."""
    if is_web_page(data):
        return "; it is a web page"
    if data[4:8] == b"ftyp":
        return "; it is HEIC or AVIF, which must be converted first"
    return ""
