"""Encoded photos and label images: what they are, whether they are whole, and their pixels."""

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

PNG = b"\x89PNG\r\n\x1a\n"
HEADER = 1 << 18  # bytes in which the size must be said; EXIF and profiles come before it
PNG_MODES = {0: "gray", 2: "RGB", 3: "palette", 4: "gray+alpha", 6: "RGB+alpha"}
MAX_PIXELS = 100_000_000  # of one image; what claims more would fill the memory, not the screen
JPEG_MODES = {1: "gray", 3: "colour", 4: "CMYK"}


def decode_rgb(data: bytes | np.ndarray) -> np.ndarray:
    """A photo as upright H x W x 3 uint8 RGB; ValueError if it cannot be decoded.

    Gray and palette images become RGB, 16 bits become 8, alpha is dropped (not blended), CMYK is
    converted, an EXIF orientation is applied: the file's bytes stay as they came.
    """
    pixels = _decoded(data, cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise ValueError("cannot be decoded as an image")
    return pixels


def _decoded(data: bytes | np.ndarray, flags: int) -> np.ndarray | None:
    """OpenCV's decoder, behind a look at what the header claims; None if it cannot decode."""
    encoded = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
    height, width = header_size(encoded[:HEADER].tobytes())
    if height * width > MAX_PIXELS:
        raise ValueError(f"claims {height} x {width} pixels, more than {MAX_PIXELS:,}")
    try:
        return cv2.imdecode(encoded, flags)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded as an image ({error.err})") from None


def header_size(data: bytes) -> tuple[int, int]:
    """(H, W) that the file claims, (0, 0) where no header says."""
    if data.startswith(PNG) and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return height, width
    for marker, body in jpeg_segments(data):
        if _is_frame(marker) and len(body) >= 5:
            height, width = struct.unpack(">HH", body[1:5])
            return height, width
    return 0, 0


def _is_frame(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def decode_label(data: bytes) -> np.ndarray:
    """The values of a label PNG, H x W uint8: gray or palette, 1 to 8 bits, never as colours."""
    if not data.startswith(PNG):
        raise ValueError("is not a PNG")
    if len(data) < 29:
        raise ValueError("is a cut PNG: its end is missing")
    header = data[16:29]
    depth, colour = header[8], header[9]
    if colour not in (0, 3) or depth > 8:
        mode = PNG_MODES.get(colour, "unknown")
        raise ValueError(f"is a {mode} image of {depth} bits where one label per pixel is expected")
    if colour == 3:
        data = _palette_as_gray(data)
    label = _decoded(data, cv2.IMREAD_UNCHANGED)
    if label is None or label.ndim != 2:
        raise ValueError("cannot be decoded as a label image")
    return label if depth == 8 else label // (255 // (2**depth - 1))  # gray is stretched to 8 bits


def _palette_as_gray(data: bytes) -> bytes:
    """The same PNG with its indices declared as gray values: a decoder would make colours."""
    parts = [PNG]
    for kind, body in png_chunks(data):
        if kind in (b"PLTE", b"tRNS"):
            continue
        if kind == b"IHDR":
            body = body[:9] + b"\0" + body[10:]
        parts.append(struct.pack(">I", len(body)) + kind + body)
        parts.append(struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(parts)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of every chunk up to IEND; ValueError if cut short or a checksum is wrong."""
    position = len(PNG)
    while position + 12 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        body = data[position + 8 : position + 8 + size]
        checksum = data[position + 8 + size : position + 12 + size]
        if zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big") != checksum:
            raise ValueError("is a damaged or cut PNG")
        yield kind, body
        if kind == b"IEND":
            return
        position += 12 + size
    raise ValueError("is a cut PNG: its end is missing")


def check_whole(data: bytes) -> None:
    """ValueError if the file ends early: decoders fill the rest with gray and say nothing."""
    if data.startswith(PNG):
        for _ in png_chunks(data):
            pass
    elif data.startswith(b"\xff\xd8"):
        end, pixels = data.rfind(b"\xff\xd9"), data.rfind(b"\xff\xda")
        if pixels < 0 or end < pixels:
            raise ValueError("is a cut JPEG: its end is missing")
    else:
        start = data[:40].lstrip().lower()
        page = " (a web page)" if start.startswith((b"<!doctype", b"<html")) else ""
        raise ValueError(f"is neither JPEG nor PNG{page}" if data else "is empty")


def describe(data: bytes) -> str:
    """Format, colour mode, bits and EXIF orientation: 'JPEG colour 8 bit', 'PNG palette 8 bit'."""
    if data.startswith(PNG):
        return f"PNG {PNG_MODES.get(data[25], 'unknown')} {data[24]} bit"
    turned = f", EXIF orientation {n}" if (n := orientation(data)) != 1 else ""
    for marker, body in jpeg_segments(data):
        if _is_frame(marker) and len(body) > 5:
            return f"JPEG {JPEG_MODES.get(body[5], 'unknown')} {body[0]} bit{turned}"
    return f"JPEG{turned}"


def orientation(data: bytes) -> int:
    """EXIF orientation of a JPEG, 1 (upright) to 8; 1 where none is written."""
    for marker, body in jpeg_segments(data):
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            return _exif_orientation(body[6:])
    return 1


def _exif_orientation(tiff: bytes) -> int:
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        start = struct.unpack_from(order + "I", tiff, 4)[0]
        count = struct.unpack_from(order + "H", tiff, start)[0]
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass  # broken EXIF is common and harmless
    return 1


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, body) of the segments before the pixels; nothing for what is no JPEG."""
    position = 2
    while data.startswith(b"\xff\xd8") and position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in (0xFF, 0xD9, 0xDA):
            if marker != 0xFF:
                return
            position += 1
            continue
        size = int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, data[position + 4 : position + 2 + size]
        position += 2 + size
