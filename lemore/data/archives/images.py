"""Encoded photos and label images: what they are, whether they are whole, and their pixels."""

import io
import warnings

import cv2
import numpy as np
from PIL import Image

from lemore.runtime.files import is_web_page

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"  # how the files begin
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
GRAY, PALETTE = 0, 3  # colour types in a PNG's header
PNG_MODES = {GRAY: "gray", 2: "RGB", PALETTE: "palette", 4: "gray+alpha", 6: "RGB+alpha"}
JPEG_MODES = {"L": "gray", "RGB": "colour"}
ORIENTATION = 0x0112  # EXIF's tag
MAX_PIXELS = 100_000_000  # of one image; larger ones would fill the memory


def open_image(data: bytes) -> Image.Image:
    """Opens a JPEG or PNG and reads its header alone; ValueError if that claims too many pixels."""
    try:
        with warnings.catch_warnings(action="ignore"):
            image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
    except Image.DecompressionBombError:
        raise ValueError(f"claims more than {MAX_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, ValueError):
        kind = "PNG" if data.startswith(PNG) else "JPEG"
        raise ValueError(f"is a damaged or cut {kind}: its header cannot be decoded") from None
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"claims {image.height} x {image.width} pixels, more than {MAX_PIXELS:,}")
    return image


def check_whole(data: bytes) -> None:
    """Raises ValueError unless these are a whole JPEG or PNG of not too many pixels.

    Decoders fill missing parts with gray and report nothing.
    """
    if data.startswith(PNG):
        image = open_image(data)
        if PNG_END not in data:
            raise ValueError("is a cut PNG: its end is missing")
        try:
            image.verify()  # the checksum of every chunk
        except (OSError, SyntaxError):
            raise ValueError("is a damaged or cut PNG") from None
    elif data.startswith(JPEG):
        end, pixels = data.rfind(b"\xff\xd9"), data.rfind(b"\xff\xda")
        if pixels < 0 or end < pixels:
            raise ValueError("is a cut JPEG: its end is missing")
        open_image(data)
    else:
        page = " (a web page)" if is_web_page(data) else ""
        raise ValueError(f"is neither JPEG nor PNG{page}" if data else "is empty")


def decode_rgb(data: bytes | np.ndarray) -> np.ndarray:
    """Decodes a photo to upright H x W x 3 uint8 RGB; ValueError if that fails.

    Gray and palette images become RGB, 16 bits become 8, alpha is dropped (not blended), CMYK is
    converted, an EXIF orientation is applied. The size that the header claims is believed: files
    of unknown origin go through `check_whole` first.
    """
    encoded = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
    try:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded as an image ({error.err})") from None
    if pixels is None:
        raise ValueError("cannot be decoded as an image")
    return pixels


def decode_label(data: bytes, gray_bits: tuple[int, ...] = (1, 2, 4, 8)) -> np.ndarray:
    """Decodes a label PNG to its values, H x W uint8 (uint16 for 16 bits), never to colours.

    The values are those of gray, or the indices of a palette. ValueError for what is no whole PNG,
    for colours, and for gray of other depths than `gray_bits`.
    """
    if not data.startswith(PNG):
        raise ValueError("is not a PNG")
    check_whole(data)
    bits, kind = data[24], data[25]
    if kind not in (GRAY, PALETTE) or (kind == GRAY and bits not in gray_bits):
        raise ValueError(
            f"is a {PNG_MODES.get(kind, 'unknown')} image of {bits} bits where one label per pixel "
            f"is expected: gray of {', '.join(map(str, gray_bits))} bits, or a palette"
        )
    try:
        label = np.array(open_image(data))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"cannot be decoded as a label image ({error})") from None
    if kind == GRAY and bits in (2, 4):
        return label // (255 // (2**bits - 1))  # Pillow stretches gray to 0..255
    return label.astype(np.uint8) if label.dtype == bool else label


def describe(data: bytes) -> str:
    """Names format, colour mode, bits and EXIF orientation: 'JPEG colour 8 bit'."""
    if data.startswith(PNG):
        return f"PNG {PNG_MODES.get(data[25], 'unknown')} {data[24]} bit"
    mode = open_image(data).mode
    turned = f", EXIF orientation {n}" if (n := read_orientation(data)) != 1 else ""
    return f"JPEG {JPEG_MODES.get(mode, mode)} 8 bit{turned}"


def read_orientation(data: bytes) -> int:
    """Returns the EXIF orientation of a JPEG, 1 (upright) to 8; 1 where none is written."""
    if not data.startswith(JPEG):
        return 1
    try:
        with warnings.catch_warnings(action="ignore"):
            value = open_image(data).getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds for broken EXIF, which is common and harmless
        return 1
    return value if value in range(1, 9) else 1
