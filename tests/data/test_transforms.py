"""Transforms against the plain way to compute the same: whole resize, one step at a time."""

import itertools
import math

import cv2
import numpy as np
import pytest

from lemore.data.augment import photometric, segmentation
from lemore.data.augment.classification import ClassificationTransform, crop_center
from lemore.data.augment.photometric import Distortion
from lemore.data.augment.segmentation import TrainTransform
from lemore.data.photo import PIXELS, Photo


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[7, seed]))


def sample(seed: int, size: tuple[int, int], classes: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Noise image and a label map of blocks, as segmentation labels are."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (7, 9), dtype=np.uint8)
    label = cv2.resize(blocks, size[::-1], interpolation=cv2.INTER_NEAREST)
    label[rng.random(size) < 0.05] = 255
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8), label


def transform(**changes) -> TrainTransform:
    values = {
        "img_scale": (256, 96),
        "scale_range": (0.5, 2.0),
        "crop_size": (96, 112),
        "cat_max_ratio": 0.75,
        "flip_probability": 0.5,
        "photometric_distortion": "none",
    }
    return TrainTransform(**{**values, **changes})


# By hand: factor = min(long / max side, short / min side), rounded half up.
@pytest.mark.parametrize(
    ("size", "img_scale", "expected"),
    [
        ((512, 683), (2048, 512), (512, 683)),
        ((1024, 2048), (1024, 512), (512, 1024)),
        ((375, 500), (520, 520), (390, 520)),
        ((300, 400), (2048, 512), (512, 683)),
        ((683, 512), (2048, 512), (683, 512)),
        ((100, 1000), (2048, 512), (205, 2048)),
    ],
)
def test_fit_size(size, img_scale, expected):
    assert segmentation.fit_size(size, img_scale) == expected


def test_sides_are_cut_to_integers_before_the_aspect_is_fitted():
    # 2048 * 0.7 = 1433.6 and 512 * 0.7 = 358.4: the image fits 358, not 358.4 (478.08 -> 478).
    fitted = transform(img_scale=(2048, 512), scale_range=(0.7, 0.7), crop_size=(512, 512))
    image, label = np.zeros((300, 400, 3), np.uint8), np.zeros((300, 400), np.uint8)
    valid = fitted(image, label, generator(0)).valid
    assert valid == (358, int(400 * 358 / 300 + 0.5)) == (358, 477)


def test_window_of_resize_equals_whole_resize():
    rng = np.random.default_rng(0)
    for _ in range(150):
        source = rng.integers(40, 200, 2)
        image = rng.integers(0, 256, (*source, 3), dtype=np.uint8)
        factor = rng.choice([rng.uniform(0.3, 2.5), 0.5, 1.0, 2.0])
        size = tuple(int(side * factor + 0.5) for side in source)
        window = tuple(int(rng.integers(1, side + 1)) for side in size)
        corner = tuple(int(rng.integers(size[a] - window[a] + 1)) for a in (0, 1))
        whole = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        expected = whole[corner[0] : corner[0] + window[0], corner[1] : corner[1] + window[1]]
        actual = segmentation.resize_window(image, size, corner, window)
        assert actual.shape == expected.shape
        assert np.abs(actual.astype(int) - expected).max() <= 1


def test_nearest_indices_are_those_of_opencv():
    for source, target in itertools.product((1, 7, 100, 341, 512, 683), (1, 5, 99, 300, 512, 1367)):
        ramp = np.arange(source, dtype=np.float32)[None]
        expected = cv2.resize(ramp, (target, 1), interpolation=cv2.INTER_NEAREST)[0]
        np.testing.assert_array_equal(segmentation.find_nearest(source, target), expected)


def test_padding_is_at_the_bottom_and_right():
    image, label = sample(3, (60, 80))
    crop = transform(crop_size=(300, 400), photometric_distortion="cpu")(image, label, generator(1))
    height, width = crop.valid
    assert height < 300 and width < 400
    assert (crop.label[height:] == 255).all() and (crop.label[:, width:] == 255).all()
    assert (crop.image[height:] == 0).all() and (crop.image[:, width:] == 0).all()


def test_image_and_label_stay_together():
    label = np.random.default_rng(0).integers(0, 200, (120, 150), dtype=np.uint8)
    image = np.repeat(label[:, :, None], 3, axis=2)
    same_size = transform(img_scale=(150, 120), scale_range=(1.0, 1.0), crop_size=(50, 60))
    for seed in range(10):
        crop = same_size(image, label, generator(seed))
        np.testing.assert_array_equal(crop.image[:, :, 1], crop.label)


class CountingGenerator:
    """Counts the draws of crop offsets; everything else as the generator it holds."""

    def __init__(self, rng):
        self.rng, self.integer_draws = rng, 0

    def integers(self, *args):
        self.integer_draws += 1
        return self.rng.integers(*args)

    def __getattr__(self, name):
        return getattr(self.rng, name)


@pytest.mark.parametrize(("ratio", "windows"), [(0.75, 11), (1.0, 1)])
def test_hopeless_image_is_redrawn_ten_times_and_then_taken(ratio, windows):
    image, _ = sample(0, (100, 120))
    rng = CountingGenerator(generator(0))
    transform(cat_max_ratio=ratio)(image, np.zeros((100, 120), np.uint8), rng)
    assert rng.integer_draws == 2 * windows


def test_share_of_one_class_is_limited():
    label = np.zeros((200, 200), np.uint8)
    label[:, 100:] = 1
    image = np.zeros((200, 200, 3), np.uint8)
    fixed = transform(img_scale=(200, 200), scale_range=(1.0, 1.0), crop_size=(40, 40))
    shares = []
    for seed in range(60):
        crop = fixed(image, label, generator(seed))
        shares.append(max(np.bincount(crop.label.ravel(), minlength=2)) / crop.label.size)
    # A random window is mixed with probability 20 / 161, after 11 draws in 77 % of cases.
    assert 0.55 < np.mean(np.array(shares) < 0.75) < 0.95


@pytest.mark.parametrize(
    ("counts", "mixed"),
    [({0: 74, 1: 26}, True), ({0: 75, 1: 25}, False), ({0: 60, 255: 40}, False),
     ({0: 30, 1: 20, 255: 900}, True), ({255: 5}, False)],
)  # fmt: skip
def test_is_mixed_ignores_255(counts, mixed):
    label = np.repeat(list(counts), list(counts.values())).astype(np.uint8)[None]
    assert segmentation.is_mixed(label, 0.75) is mixed


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="unequal sizes"):
        transform()(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8), generator(0))


# --- photometric distortion


def stepwise(image: np.ndarray, drawn: Distortion) -> np.ndarray:
    """Each step on the whole BGR image in float32, clipped and cut to uint8."""
    image = image[:, :, ::-1].copy()

    def scaled(values, factor=1.0, offset=0.0):
        return np.clip(values.astype(np.float32) * factor + offset, 0, 255).astype(np.uint8)

    if drawn.brightness is not None:
        image = scaled(image, offset=drawn.brightness)
    if drawn.contrast is not None and drawn.contrast_first:
        image = scaled(image, drawn.contrast)
    if drawn.saturation is not None:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv[:, :, 1] = scaled(hsv[:, :, 1], drawn.saturation)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if drawn.hue is not None:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + drawn.hue) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if drawn.contrast is not None and not drawn.contrast_first:
        image = scaled(image, drawn.contrast)
    return image[:, :, ::-1]


def test_distortion_equals_the_steps_one_by_one():
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    options = itertools.product(
        (None, -31.7, 20.3), (None, 0.53, 1.47), (True, False), (None, 0.6, 1.4), (None, -18, 17)
    )
    for values in options:
        drawn = Distortion(*values)
        before = image.copy()
        np.testing.assert_array_equal(photometric.distort(image, drawn), stepwise(image, drawn))
        np.testing.assert_array_equal(image, before)


def test_distortion_draws():
    drawn = [photometric.draw(generator(seed)) for seed in range(4000)]
    for name, low, high in (
        ("brightness", -32, 32),
        ("contrast", 0.5, 1.5),
        ("saturation", 0.5, 1.5),
        ("hue", -18, 17),
    ):
        values = [getattr(d, name) for d in drawn if getattr(d, name) is not None]
        assert abs(len(values) / len(drawn) - 0.5) < 0.03
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high >= max(values) > high - 0.05 * (high - low)
    assert {d.hue for d in drawn} - {None} == set(range(-18, 18))
    assert abs(np.mean([d.contrast_first for d in drawn]) - 0.5) < 0.03


# --- test images and classification


@pytest.mark.parametrize(("align", "expected"), [(None, (512, 683)), (32, (512, 704))])
def test_resize_for_test(align, expected):
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    resized = segmentation.resize_for_test(image, (2048, 512), align)
    assert resized.shape == (*expected, 3)
    once = cv2.resize(image, (683, 512), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(
        resized, cv2.resize(once, expected[::-1], interpolation=cv2.INTER_LINEAR)
    )


def test_classification_crop_has_the_drawn_area_and_ratio():
    crops = ClassificationTransform((32, 48), (0.08, 1.0), (3 / 4, 4 / 3), 0.5)
    areas = []
    for seed in range(200):
        top, left, height, width = crops.draw_part((200, 300), generator(seed))
        assert 0 <= top <= 200 - height and 0 <= left <= 300 - width
        assert 0.7 < width / height < 1.4
        areas.append(height * width / 60000)
    assert 0.07 < min(areas) < 0.12 and max(areas) > 0.6
    photo = Photo(np.zeros((200, 300, 3), np.uint8), PIXELS, (200, 300))
    crop = crops(photo, 5, generator(0))
    assert crop.image.shape == (32, 48, 3) and crop.label == 5 and crop.valid == (32, 48)


def test_classification_falls_back_to_the_centre():
    narrow = ClassificationTransform((8, 8), (1.0, 1.0), (3 / 4, 4 / 3), 0.0)
    top, left, height, width = narrow.draw_part((10, 100), generator(0))
    assert (top, height) == (0, 10) and width == round(10 * 4 / 3) and left == (100 - width) // 2


def test_central_crop():
    rows = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 300, axis=1).repeat(3, axis=2)
    crop = crop_center(rows, (224, 224), 0.875)
    assert crop.shape == (224, 224, 3)
    np.testing.assert_array_equal(crop[:, 0, 0], np.arange(16, 240))
    small = crop_center(np.zeros((20, 30, 3), np.uint8), (64, 96), 1.0)
    assert small.shape == (64, 96, 3)


def test_same_draw_same_crop():
    image, label = sample(0, (120, 160))
    crops = [
        transform(photometric_distortion="cpu")(image, label, generator(seed)) for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(crops[0].image, crops[1].image)
    assert not np.array_equal(crops[0].image, crops[2].image)
    assert math.prod(crops[0].valid) > 0
