"""Encoded photos: what they are, whether they are whole, and their pixels."""

import io
import re
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps

from lemore.runtime.files import is_web_page

PNG, JPEG, TIFF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", (b"II", b"MM")  # how the files begin
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
GRAY, PALETTE = 0, 3  # colour types in a PNG's header
PNG_MODES = {GRAY: "gray", 2: "RGB", PALETTE: "palette", 4: "gray+alpha", 6: "RGB+alpha"}
MODES = {"L": "gray", "RGB": "colour"}
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
KNOWN = "JPEG, PNG, WebP, BMP or TIFF"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
ORIENTATION = 0x0112  # EXIF's tag
OPPOSITE = {6: 8, 8: 6}  # orientations that undo one another; the others undo themselves
GIT_LFS = b"version https://git-lfs"  # how a file begins that was not fetched
REDUCED = {  # OpenCV's flags by reduction; those of gray alone hold the factor and no colour
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
MAX_PIXELS = 100_000_000  # of one image; larger ones would fill the memory

# The errors below replace what OpenCV's decoders print about a damaged file.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def open_image(data: bytes) -> Image.Image:
    """Opens an image and reads its header alone; ValueError if that is of another format, or
    claims too many pixels."""
    try:
        with warnings.catch_warnings(action="ignore"):
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise ValueError(f"claims more than {MAX_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, ValueError):
        raise ValueError(_explain_unreadable(data)) from None
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"claims {image.height} x {image.width} pixels, more than {MAX_PIXELS:,}")
    return image


def _explain_unreadable(data: bytes) -> str:
    if not data:
        return "is empty"
    if data.startswith((PNG, JPEG)):
        kind = "PNG" if data.startswith(PNG) else "JPEG"
        return f"is a damaged or cut {kind}: its header cannot be decoded"
    note = "; it is a web page" if is_web_page(data) else ""
    if data.startswith(GIT_LFS):
        note = "; it is a pointer of Git LFS: run `git lfs pull`"
    if data[4:8] == b"ftyp":
        note = "; it is HEIC or AVIF, which must be converted first"
    return f"is not a whole {KNOWN} file{note}"


def check_whole(data: bytes) -> None:
    """Raises ValueError unless these are an image of a known format and of not too many pixels,
    and a whole one if it is a JPEG or PNG.

    Decoders fill missing parts of those with gray and report nothing.
    """
    if data.startswith(PNG):
        image = open_image(data)
        if PNG_END not in data:
            raise ValueError("is a cut PNG: its end is missing")
        try:
            image.verify()  # the checksum of every chunk
        except (OSError, SyntaxError):
            raise ValueError("is a damaged or cut PNG") from None
        return
    if data.startswith(JPEG):
        end, pixels = data.rfind(b"\xff\xd9"), data.rfind(b"\xff\xda")
        if pixels < 0 or end < pixels:
            raise ValueError("is a cut JPEG: its end is missing")
    open_image(data)


def decode_photo(data: bytes, as_stored: bool = False) -> np.ndarray:
    """Decodes a photo of unknown origin to H x W x 3 uint8 RGB; ValueError says what is wrong.

    As `decode_rgb`; of several pages the first is read. `as_stored`: an EXIF orientation is not
    applied.
    """
    check_whole(data)
    if not data.startswith(TIFF):
        return decode_rgb(data, as_stored)
    pixels = _decode_tiff(data)
    if as_stored:  # both decoders have turned it
        orientation = read_orientation(data)
        pixels = turn(pixels, OPPOSITE.get(orientation, orientation))
    return pixels


def decode_rgb(data: bytes | np.ndarray, as_stored: bool = False, reduction: int = 1) -> np.ndarray:
    """Decodes a photo to upright H x W x 3 uint8 RGB; ValueError if that fails.

    Gray and palette images become RGB, 16 bits become 8, alpha is dropped (not blended), CMYK is
    converted, an EXIF orientation is applied unless `as_stored`. The size that the header claims
    is believed: files of unknown origin go through `check_whole` first. `reduction` (1, 2, 4 or 8)
    decodes a JPEG at that part of its resolution, sides rounded up.
    """
    encoded = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
    flags = REDUCED[reduction] | (cv2.IMREAD_IGNORE_ORIENTATION if as_stored else 0)
    try:
        pixels = cv2.imdecode(encoded, flags)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded as an image ({error.err})") from None
    if pixels is None:
        raise ValueError("cannot be decoded as an image")
    return pixels


def _decode_tiff(data: bytes) -> np.ndarray:
    """Decodes with OpenCV, which reads the most kinds, or Pillow, since OpenCV blends alpha."""
    with warnings.catch_warnings(action="ignore"), open_image(data) as image:
        if not image.has_transparency_data:
            return decode_rgb(data)
        try:
            return convert_to_rgb(image)
        except (OSError, SyntaxError) as error:
            raise ValueError(f"cannot be decoded as an image ({error})") from None


def convert_to_rgb(image: Image.Image) -> np.ndarray:
    """H W 3 uint8 RGB of a PIL image, as `decode_photo` reads a file of it (of 16 bits, to 1);
    ValueError for a mode whose values have no known range."""
    if image.mode in ("I", "F"):
        raise ValueError(f"image is of PIL's mode {image.mode}, expected 8 or 16 bits a channel")
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        gray = (np.asarray(upright).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns H x W (x C) stored pixels upright, as EXIF's orientation 1 to 8 says."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def hide_orientation(data: bytes) -> bytes:
    """Returns a JPEG with its EXIF data made unreadable, so that no decoder turns it."""
    return re.sub(rb"(\xff\xe1..)Exif\0\0", rb"\1none\0\0", data, flags=re.DOTALL)


def describe(data: bytes) -> str:
    """Names format, colour mode, bits and EXIF orientation: 'JPEG colour 8 bit'."""
    if data.startswith(PNG):
        text = f"PNG {PNG_MODES.get(data[25], 'unknown')} {data[24]} bit"
    else:
        image = open_image(data)
        kind = "JPEG" if data.startswith(JPEG) else image.format  # Pillow calls some JPEGs MPO
        bits = 16 if image.mode.startswith("I;16") else 8
        text = f"{kind} {MODES.get(image.mode, image.mode)} {bits} bit"
    turned = f", EXIF orientation {n}" if (n := read_orientation(data)) != 1 else ""
    return text + turned


def read_orientation(data: bytes) -> int:
    """Returns the EXIF orientation of an image, 1 (upright) to 8; 1 where none is written."""
    if data.startswith(PNG) and b"eXIf" not in data:
        return 1
    try:
        with warnings.catch_warnings(action="ignore"):
            image = open_image(data)
            exif = Image.Exif()  # not image.getexif(), which takes XMP too, as decoders do not
            exif.load(image.info.get("exif", b""))
            tags = getattr(image, "tag_v2", exif)  # a TIFF's own
            value = tags.get(ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds for broken EXIF, which is common and harmless
        return 1
    return value if value in range(1, 9) else 1
