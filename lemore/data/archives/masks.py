"""Encoded label images and masks: their numbers, never rescaled."""

import warnings

import numpy as np
from PIL import Image

from lemore.data.archives.images import (
    GRAY,
    OPPOSITE,
    PALETTE,
    PNG,
    PNG_MODES,
    check_whole,
    open_image,
    read_orientation,
    turn,
)

LOSSLESS = ("PNG", "TIFF", "BMP")
LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp", "jpeg2000")  # compressions within a TIFF
BITS_PER_SAMPLE = 258  # TIFF's tag
CHROMA = 32  # most that the channels of gray differ by after a lossy compression


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


def decode_mask(
    data: bytes, *, indices: bool = False, lossy: bool = False, as_stored: bool = False
) -> np.ndarray:
    """Decodes a mask to its numbers: H x W uint8 where it is gray, else H x W x 3 uint8 RGB.

    indices: of a palette, the indices rather than the colours, and of gray below 8 bits the
    numbers rather than the brightness. lossy: JPEG and WebP are taken too. as_stored: an EXIF
    orientation is not applied. ValueError for other formats, for more than 8 bits a channel,
    and for transparency that tells pixels of one colour apart.
    """
    check_whole(data)
    with warnings.catch_warnings(action="ignore"), open_image(data) as image:
        compression = image.info.get("compression")
        if not lossy and (image.format not in LOSSLESS or compression in LOSSY_TIFF):
            raise ValueError(
                f"is a {image.format} of a kind that changes the values of a mask; "
                "PNG, TIFF and BMP keep them"
            )
        if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
            raise ValueError("holds several pages, of which a mask has one")
        try:
            values = _read_values(image, data, indices)
        except (OSError, SyntaxError) as error:
            raise ValueError(f"cannot be decoded as a mask ({error})") from None
    orientation = read_orientation(data)
    if image.format == "TIFF":  # Pillow has turned it
        return turn(values, OPPOSITE.get(orientation, orientation)) if as_stored else values
    return values if as_stored else turn(values, orientation)


def _read_values(image: Image.Image, data: bytes, indices: bool) -> np.ndarray:
    depth = data[24] if image.format == "PNG" else _read_tiff_depth(image)
    if depth > 8 or image.mode not in ("1", "L", "P", "LA", "PA", "RGB", "RGBA"):
        raise ValueError(
            f"is a {image.mode} image of {depth} bits a channel, where a mask has gray, a palette "
            "or colours of up to 8 bits; save it so"
        )
    if indices and image.format == "PNG" and image.mode in ("1", "L", "P"):
        return decode_label(data)
    if indices and image.mode in ("1", "P"):
        return np.array(image).astype(np.uint8)
    tolerance = 0 if image.format in LOSSLESS else CHROMA
    if not image.has_transparency_data:
        return _drop_equal_channels(np.array(image.convert("RGB")), tolerance)
    pixels = np.array(image.convert("RGBA"))
    _check_alpha(pixels)
    return _drop_equal_channels(pixels[..., :3], tolerance)


def _read_tiff_depth(image: Image.Image) -> int:
    """Returns the bits of a channel that a TIFF's header names (8 for the other formats), since
    Pillow reads colours of 16 bits as 8."""
    return max(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,)))


def _drop_equal_channels(pixels: np.ndarray, tolerance: int) -> np.ndarray:
    """H x W x 3 to H x W where the channels are equal everywhere: gray that is saved as RGB."""
    gray = (pixels.max(axis=2) - pixels.min(axis=2)).max() <= tolerance
    return pixels[..., 1] if gray else pixels


def _check_alpha(pixels: np.ndarray) -> None:
    """Raises ValueError if H x W x 4 uint8 RGBA pixels of one colour differ in their alpha: the
    mask, or a part of it, lies in the alpha channel, which is not read."""
    if (pixels[..., 3] == pixels[0, 0, 3]).all():
        return
    codes = np.ascontiguousarray(pixels).view("<u4")[..., 0]
    if len(np.unique(codes)) > len(np.unique(codes & 0xFFFFFF)):
        raise ValueError(
            "holds values in its alpha channel (transparency), which is not read; "
            "save the mask as gray or colours without transparency"
        )
