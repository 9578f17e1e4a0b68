"""Photos kept at a short side: what is stored, and that parts of them are the whole's parts."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from lemore.config.dataset import DatasetConfig
from lemore.config.read import load
from lemore.data.archives.blocks import decode_blocks, encode_blocks, read_size
from lemore.data.archives.members import Member
from lemore.data.augment.classification import ClassificationTransform
from lemore.data.photo import BLOCKS, FILE, Photo
from lemore.data.prepare.samples import RawSample, prepare_sample
from lemore.runtime.shipped import CONFIG

SMALL = load(DatasetConfig, CONFIG / "datasets/imagenet_1k_small.yaml")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 30 + 1, width // 30 + 1, 3))
    return cv2.resize(noise.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def prepare(data: bytes, tmp_path):
    path = tmp_path / "photo.JPEG"
    path.write_bytes(data)
    member = Member(path.name, str(tmp_path), "file", len(data))
    return prepare_sample(SMALL, RawSample("photo", member, 3), SMALL.short_side)


def photo_of(sample) -> Photo:
    return Photo(np.frombuffer(sample.image, np.uint8), sample.coding, sample.size)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (64, 48), (129, 200), (320, 427), (1, 5)])
def test_parts_are_those_of_the_whole_photo_to_the_bit(size):
    data = np.frombuffer(encode_blocks(picture(*size)), np.uint8)
    whole = np.asarray(Image.open(io.BytesIO(data.tobytes())))  # by another decoder
    assert read_size(data) == size == whole.shape[:2]
    rng = np.random.default_rng(1)
    for _ in range(60):
        top, left = (int(rng.integers(side)) for side in size)
        height, width = int(rng.integers(size[0] - top)) + 1, int(rng.integers(size[1] - left)) + 1
        part = decode_blocks(data, (top, left, height, width))
        np.testing.assert_array_equal(part, whole[top : top + height, left : left + width])


@pytest.mark.parametrize(("size", "kept"), [((480, 640), (320, 427)), ((900, 400), (720, 320))])
def test_large_photos_are_kept_at_the_short_side(size, kept, tmp_path):
    sample = prepare(jpeg(picture(*size)), tmp_path)
    assert (sample.coding, sample.size) == (BLOCKS, size)
    whole = photo_of(sample).read()
    expected = np.asarray(Image.fromarray(picture(*size)).resize(kept[::-1], Image.Resampling.BOX))
    assert whole.shape[:2] == kept
    assert np.abs(whole.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("size", [(320, 500), (200, 900)])
def test_other_photos_are_copied_byte_for_byte(size, tmp_path):
    data = jpeg(picture(*size))
    sample = prepare(data, tmp_path)
    assert (sample.coding, sample.image) == (FILE, data)


def test_every_kind_of_photo_can_be_made_small(tmp_path):
    """Gray, CMYK, turned by EXIF, PNG: as upright RGB."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = picture(400, 500)
    png = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    cmyk = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(cmyk, "JPEG")
    kinds = {"turned": jpeg(pixels, exif=exif), "png": png, "cmyk": cmyk.getvalue()}
    kinds["gray"] = jpeg(pixels[..., 0])
    for kind, data in kinds.items():
        sample = prepare(data, tmp_path)
        kept = (400, 320) if kind == "turned" else (320, 400)
        assert sample.coding == BLOCKS and photo_of(sample).read().shape == (*kept, 3)
        assert sample.size == ((500, 400) if kind == "turned" else (400, 500))


def test_crops_of_both_stores_are_equal_as_fractions_of_the_photo(tmp_path):
    """Equal draws give equal views: the difference is blur and half a pixel at an edge."""
    data = jpeg(cv2.GaussianBlur(picture(600, 800), (0, 0), 4))
    small, full = prepare(data, tmp_path), prepare_file(data)
    transform = ClassificationTransform((96, 96), (0.08, 1.0), (0.75, 4 / 3), 0.5, (9.0, 0.5), 0.2)
    plain = replace(transform, rand_augment=None, random_erasing=0.0)
    for seed in range(20):
        boxes = [transform.draw_part(one.size, generator(seed)) for one in (photo_of(small), full)]
        assert boxes[0] == boxes[1]
        rngs = generator(seed), generator(seed)
        crops = [plain(photo_of(small), 0, rngs[0]).image, plain(full, 0, rngs[1]).image]
        assert rngs[0].random() == rngs[1].random()
        other = plain(full, 0, generator(seed + 1000)).image
        gaps = [np.abs(crop.astype(int) - crops[1]).mean() for crop in (crops[0], other)]
        assert gaps[0] < 6 and gaps[1] > 4 * gaps[0]


def prepare_file(data: bytes) -> Photo:
    height, width = np.asarray(Image.open(io.BytesIO(data))).shape[:2]
    return Photo(np.frombuffer(data, np.uint8), FILE, (height, width))


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[0, seed]))


@pytest.mark.parametrize(
    ("least", "shape"),
    [
        ((501, 600), (1000, 1200)),
        ((500, 600), (500, 600)),
        ((250, 290), (250, 300)),
        ((90, 90), (125, 150)),
    ],
)
def test_large_parts_of_large_jpegs_are_decoded_at_a_lower_resolution(least, shape):
    pixels = cv2.GaussianBlur(picture(1201, 1600), (0, 0), 4)
    part = prepare_file(jpeg(pixels)).read_part((96, 304, 1000, 1200), least)
    assert part.shape == (*shape, 3)
    same = Image.fromarray(pixels[96:1096, 304:1504]).resize(shape[::-1], Image.Resampling.BOX)
    assert np.abs(part.astype(int) - np.asarray(same)).mean() < 1.5


def test_segmentation_keeps_its_photos():
    with pytest.raises(ValueError, match="short_side is 320, expected null for segmentation"):
        replace(load(DatasetConfig, CONFIG / "datasets/camvid.yaml"), short_side=320)
