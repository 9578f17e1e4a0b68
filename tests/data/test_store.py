"""Photos and label maps are read from the store unchanged."""

import cv2
import numpy as np
import pytest

from lemore.data.photo import FILE, PIXELS, pack_image
from lemore.data.store import pack_label, unpack_label

RNG = np.random.default_rng(5)
PHOTO = RNG.integers(0, 256, (37, 53, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    return cv2.imencode(kind, pixels)[1].tobytes()


def test_a_jpeg_stays_as_it_came():
    data = encoded(PHOTO, ".jpg")
    assert pack_image(data, PHOTO) == (data, FILE)


def test_a_png_photo_becomes_its_pixels():
    data = encoded(PHOTO, ".png")  # noise: as long as its pixels
    assert pack_image(data, PHOTO) == (PHOTO.tobytes(), PIXELS)


def test_a_png_that_would_grow_too_much_stays_as_it_came():
    flat = np.full((64, 64, 3), 7, np.uint8)
    data = encoded(flat, ".png")
    assert pack_image(data, flat) == (data, FILE)


def test_label_maps_come_back_and_damage_is_noticed():
    label = RNG.integers(0, 150, (31, 17), dtype=np.uint8)
    packed = pack_label(label[:, ::-1])
    assert (unpack_label(packed, (31, 17)) == label[:, ::-1]).all()
    with pytest.raises(ValueError, match="damaged"):
        unpack_label(packed[:-9], (31, 17))
