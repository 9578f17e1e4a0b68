"""Photos of every mode read as upright RGB; label images as values; cut files are refused."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from lemore.data.archives import images, masks


def gradient() -> np.ndarray:
    """A picture without symmetry, 40 x 60 x 3, smooth so that JPEG keeps it."""
    y, x = np.mgrid[:40, :60]
    return np.stack([x * 4, y * 6, 255 - x * 2 - y * 2], 2).astype(np.uint8)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def test_plain_modes_read_as_rgb():
    rgb = Image.fromarray(gradient())
    assert (images.decode_rgb(encoded(rgb, "PNG")) == gradient()).all()
    gray = images.decode_rgb(encoded(rgb.convert("L"), "PNG"))
    assert (gray == np.asarray(rgb.convert("L"))[..., None]).all()
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE)
    expected = np.asarray(palette.convert("RGB"))
    assert (images.decode_rgb(encoded(palette, "PNG")) == expected).all()


def test_alpha_is_dropped_and_16_bits_become_8():
    alpha = np.dstack([gradient(), np.full((40, 60), 7, np.uint8)])
    assert (images.decode_rgb(encoded(Image.fromarray(alpha), "PNG")) == gradient()).all()
    deep = gradient().astype(np.uint16) * 257
    data = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    assert images.describe(data) == "PNG RGB 16 bit"
    assert (images.decode_rgb(data) == gradient()).all()


def test_cmyk_jpeg_becomes_rgb():
    data = encoded(Image.fromarray(gradient()).convert("CMYK"), "JPEG", quality=98)
    assert images.describe(data) == "JPEG CMYK 8 bit"
    difference = images.decode_rgb(data).astype(int) - gradient()
    assert np.abs(difference).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(gradient()), "JPEG", quality=98, exif=exif)
    assert images.read_orientation(data) == orientation
    turned = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }[orientation](gradient())
    read = images.decode_rgb(data)
    assert read.shape == turned.shape
    assert np.abs(read.astype(int) - turned).mean() < 4


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_label_gives_indices(bits):
    values = np.random.default_rng(0).integers(0, 2**bits, (13, 17)).astype(np.uint8)
    picture = Image.fromarray(values).convert("P")
    picture.putdata(values.ravel().tolist())
    picture.putpalette([(37 * i) % 256 for i in range(768)])
    assert (masks.decode_label(encoded(picture, "PNG", bits=bits)) == values).all()


def test_colour_image_is_no_label():
    with pytest.raises(ValueError, match="RGB image"):
        masks.decode_label(encoded(Image.fromarray(gradient()), "PNG"))


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_cut_photo_is_noticed(format):
    data = encoded(Image.fromarray(gradient()), format)
    images.check_whole(data)
    for part in (0.4, 0.9):
        with pytest.raises(ValueError, match=r"cut|damaged"):
            images.check_whole(data[: int(len(data) * part)])


def test_flipped_bit_in_a_png_and_a_web_page_are_noticed():
    data = bytearray(encoded(Image.fromarray(gradient()), "PNG"))
    data[len(data) // 2] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        images.check_whole(bytes(data))
    with pytest.raises(ValueError, match="web page"):
        images.check_whole(b"<!DOCTYPE html><html>404</html>")
