"""Measures and inference against brute force, and guards against wrong ways to evaluate."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lemore.config import recipe
from lemore.config.read import build
from lemore.evaluation import inference
from lemore.evaluation.inference import make_passes
from lemore.evaluation.metrics import Confusion, count_pairs
from lemore.evaluation.segmentation import make_plain_test
from lemore.evaluation.upsample import label_passes


def maps(seed: int, num_classes: int, outside: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, num_classes, (37, 53), dtype=np.uint8)
    label[rng.random(label.shape) < 0.2] = 255
    prediction = rng.integers(0, num_classes + outside, label.shape, dtype=np.uint8)
    return prediction, label


def results(pairs, num_classes: int, ignore_index: int = 255) -> dict:
    confusion = Confusion(num_classes, ignore_index)
    for prediction, label in pairs:
        confusion.update(prediction, label)
    return confusion.compute_measures()


# --- measures


def test_brute_force():
    pairs = [maps(seed, 6) for seed in range(3)]
    matrix = np.zeros((6, 7), dtype=int)
    for prediction, label in pairs:
        for p, t in zip(prediction.ravel().tolist(), label.ravel().tolist(), strict=True):
            if t != 255:
                matrix[t, min(p, 6)] += 1
    found = results(pairs, 6)
    assert found["confusion"] == matrix.tolist()
    iou = [matrix[k, k] / (matrix[k].sum() + matrix[:, k].sum() - matrix[k, k]) for k in range(6)]
    acc = [matrix[k, k] / matrix[k].sum() for k in range(6)]
    share = matrix.sum(axis=1) / matrix.sum()
    assert found["iou"] == pytest.approx(iou) and found["acc"] == pytest.approx(acc)
    assert found["miou"] == pytest.approx(sum(iou) / 6)
    assert found["macc"] == pytest.approx(sum(acc) / 6)
    assert found["aacc"] == pytest.approx(np.trace(matrix) / matrix.sum())
    assert found["fwiou"] == pytest.approx(float(np.dot(share, iou)))


def test_by_hand():
    label = np.array([[0, 0, 0, 0], [1, 1, 255, 255]], np.uint8)
    prediction = np.array([[0, 0, 0, 1], [1, 0, 1, 2]], np.uint8)
    found = results([(prediction, label)], 3)
    assert found["confusion"] == [[3, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert found["iou"] == pytest.approx([3 / 5, 1 / 3, None])
    assert found["miou"] == pytest.approx((3 / 5 + 1 / 3) / 2)
    assert found["aacc"] == pytest.approx(4 / 6)
    assert found["fwiou"] == pytest.approx(4 / 6 * 3 / 5 + 2 / 6 * 1 / 3)


def test_perfect_prediction():  # guard (a)
    pairs = [(label, label) for _, label in (maps(0, 9), maps(1, 9))]
    found = results(pairs, 9)
    assert found["miou"] == found["aacc"] == found["macc"] == 1.0
    assert found["fwiou"] == pytest.approx(1.0)


def test_absent_class_is_left_out():  # guard (b)
    label = np.array([[0, 1]], np.uint8)
    found = results([(label, label)], 4)
    assert found["iou"] == [1.0, 1.0, None, None] and found["miou"] == 1.0
    predicted_only = results([(np.array([[0, 2]], np.uint8), label)], 4)
    assert predicted_only["iou"] == [1.0, 0.0, 0.0, None]
    assert predicted_only["acc"] == [1.0, 0.0, None, None]
    assert predicted_only["miou"] == pytest.approx(1 / 3)


def test_ignored_image_adds_nothing():  # guard (c)
    pair = maps(0, 5)
    blank = (pair[0], np.full_like(pair[1], 255))
    assert results([pair, blank], 5) == results([pair], 5)
    empty = results([blank], 5)
    assert empty["miou"] is empty["aacc"] is empty["macc"] is empty["fwiou"] is None
    assert empty["iou"] == [None] * 5


def test_float_histograms_agree():  # guard (d): mmsegmentation counts with float32 histc
    pairs = [maps(seed, 20) for seed in range(4)]
    areas = torch.zeros(3, 20)
    for prediction, label in pairs:
        kept = torch.from_numpy(label) != 255
        p, t = (torch.from_numpy(x)[kept].float() for x in (prediction, label))
        for row, values in enumerate((p[p == t], p, t)):
            areas[row] += torch.histc(values, bins=20, min=0, max=19)
    iou = areas[0] / (areas[1] + areas[2] - areas[0])
    assert 100 * abs(results(pairs, 20)["miou"] - iou.mean().item()) < 1e-4


def test_resizing_the_label_changes_the_result():  # guard (e)
    label = np.zeros((64, 64), np.uint8)
    label[:, ::4] = 1  # stripes that half the size cannot hold
    prediction = np.zeros_like(label)
    right = results([(prediction, label)], 2)["miou"]
    small = [cv2.resize(x, (21, 21), interpolation=cv2.INTER_NEAREST) for x in (prediction, label)]
    assert abs(right - results([(small[0], small[1])], 2)["miou"]) > 0.01


def test_ade20k_samples_and_the_bilinear_label(samples):  # guard (f)
    folder = samples / "ade20k_samples/ADEChallengeData2016/annotations/validation"
    raw = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.glob("*.png"))]
    labels = [image - np.uint8(1) for image in raw]  # 0 wraps to 255
    assert len(labels) == 3
    found = results([(label, label) for label in labels], 150)
    assert found["miou"] == 1.0 and sum(iou is not None for iou in found["iou"]) == 15
    wrong = []
    for label in labels:
        nearest, mixed = (cv2.resize(label, (512, 512), interpolation=m) for m in (0, 1))
        mixed[mixed >= 150] = 255
        wrong.append((nearest, mixed))
    found = results(wrong, 150)
    assert found["miou"] < 0.1 and sum(iou is not None for iou in found["iou"]) > 100


def test_prediction_outside_counts_as_wrong():
    label = np.array([[0, 0, 1, 1]], np.uint8)
    found = results([(np.array([[0, 255, 1, 7]], np.uint8), label)], 2)
    assert found["confusion"] == [[1, 0, 1], [0, 1, 1]]
    assert found["iou"] == [0.5, 0.5] and found["aacc"] == 0.5


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16])
def test_wide_integers_give_the_same(dtype):
    prediction, label = maps(0, 7)
    assert results([(prediction.astype(dtype), label.astype(dtype))], 7) == results(
        [(prediction, label)], 7
    )


def test_negative_ignore_and_prediction():
    label, prediction = np.array([[0, -1, 1]]), np.array([[0, 0, -3]])
    assert results([(prediction, label)], 2, ignore_index=-1)["confusion"] == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize(("value", "ignore"), [(7, 255), (255, 254), (5, 255)])
def test_undeclared_label_is_refused_and_not_counted(dtype, value, ignore):
    confusion = Confusion(5, ignore)
    label = np.array([[0, value, 4]], dtype)
    with pytest.raises(ValueError, match=rf"label value {value} is neither a class \(0..4\)"):
        confusion.update(np.zeros_like(label), label)
    assert confusion.matrix.sum() == 0


def test_sizes_and_class_count_are_checked():
    with pytest.raises(ValueError, match="prediction is"):
        Confusion(3, 255).update(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match="num_classes"):
        Confusion(256, 255)


def test_counting_runs_equals_counting_pixels():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, 60, 70), dtype=np.uint8)
    flat = noise.repeat(9, axis=2)
    for first, second in (
        noise,
        flat,
        flat[:, :1, :1],
        np.zeros((2, 3, 3), np.uint8),
        noise[:, :0],
    ):
        expected = np.zeros((256, 256), dtype=int)
        np.add.at(expected, (first, second), 1)
        np.testing.assert_array_equal(count_pairs(first, second), expected)


# --- inference


def network(classes: int = 11, stride: int = 8, seed: int = 0):
    """A fixed random convolution with logits at 1/8."""
    weight = torch.randn(classes, 3, stride, stride, generator=torch.manual_seed(seed))
    return lambda x: F.conv2d(x, weight, stride=stride) / 20


def bilinear(values, size):
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)


IMAGE = torch.randn(1, 3, 96, 128, generator=torch.manual_seed(5))
ORIGINAL = (75, 101)


def labels(model, **changes) -> np.ndarray:
    return label_all(model, [IMAGE], **changes)


def label_all(model, images, crop_size=None, **changes) -> np.ndarray:
    test = replace(make_plain_test((128, 96)), **changes)
    return label_passes(make_passes(model, images, test, crop_size), ORIGINAL)


def test_two_step_and_one_step():
    model = network()
    two = bilinear(bilinear(model(IMAGE), (96, 128)), ORIGINAL).argmax(1)[0].numpy()
    one = bilinear(model(IMAGE), ORIGINAL).argmax(1)[0].numpy()
    actual = labels(model)
    assert actual.dtype == np.uint8 and actual.shape == ORIGINAL
    np.testing.assert_array_equal(actual, two)
    np.testing.assert_array_equal(labels(model, upsample="one_step"), one)
    assert (one != two).any()


def test_upsampling_labels_in_place_of_logits_differs():
    model = network()
    small = model(IMAGE).argmax(1)[0].numpy().astype(np.uint8)
    wrong = cv2.resize(small, ORIGINAL[::-1], interpolation=cv2.INTER_NEAREST)
    assert (wrong != labels(model)).mean() > 0.02


def test_square():
    model = network()
    logits = model(bilinear(IMAGE, (64, 64)))
    two = bilinear(bilinear(logits, (64, 64)), ORIGINAL).argmax(1)[0].numpy()
    one = bilinear(logits, ORIGINAL).argmax(1)[0].numpy()
    np.testing.assert_array_equal(labels(model, mode="square", crop_size=(64, 64)), two)
    actual = labels(model, mode="square", crop_size=(64, 64), upsample="one_step")
    np.testing.assert_array_equal(actual, one)
    assert (two != labels(model)).any()


def test_slide_boxes_cover_and_end_at_the_edge():
    assert inference.slide_boxes((96, 128), (64, 64), (40, 40)) == [
        (0, 0, 64, 64), (0, 40, 64, 64), (0, 64, 64, 64),
        (32, 0, 64, 64), (32, 40, 64, 64), (32, 64, 64, 64),
    ]  # fmt: skip
    assert inference.slide_boxes((50, 64), (64, 64), (40, 40)) == [(0, 0, 50, 64)]


def test_slide_averages_logits():
    model = network()
    total, count = torch.zeros(1, 11, 96, 128), torch.zeros(1, 1, 96, 128)
    for top in (0, 32):
        for left in (0, 40, 64):
            part = (..., slice(top, top + 64), slice(left, left + 64))
            total[part] += bilinear(model(IMAGE[part]), (64, 64))
            count[part] += 1
    expected = bilinear(total / count, ORIGINAL).argmax(1)[0].numpy()
    actual = labels(model, mode="slide", crop_size=(64, 64), stride=(40, 40))
    np.testing.assert_array_equal(actual, expected)
    assert (actual != labels(model)).any()


def test_windows_go_through_the_model_in_batches(monkeypatch):
    sizes = []
    model = network()

    def watched(x):
        sizes.append(tuple(x.shape))
        return model(x)

    slide = {"mode": "slide", "crop_size": (64, 64), "stride": (40, 40)}
    monkeypatch.setattr(inference, "CPU_BATCH_PIXELS", 4 * 64 * 64)
    together = labels(watched, **slide)
    assert sizes == [(4, 3, 64, 64), (2, 3, 64, 64)]
    monkeypatch.setattr(inference, "CPU_BATCH_PIXELS", 1)
    np.testing.assert_array_equal(labels(model, **slide), together)


MODES = [
    ("whole", (1.0,), "two_step"),
    ("whole", (0.5, 1.0, 1.25), "two_step"),
    ("whole", (0.75, 1.0), "one_step"),
    ("square", (1.0,), "two_step"),
    ("slide", (0.75, 1.0), "two_step"),
]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("mode", "ratios", "preset"), MODES)
def test_augmentation_is_the_mean_of_softmax(mode, ratios, preset, flip):
    model, crop, step = network(), (64, 64), (40, 40)
    images = [bilinear(IMAGE, (int(96 * r), int(128 * r))) for r in ratios]

    def logits(image):
        """At the original size, all in one piece."""
        if mode == "square":
            image = bilinear(image, crop)
        height, width = image.shape[2:]
        if mode == "slide":
            total, count = torch.zeros(1, 11, height, width), torch.zeros(1, 1, height, width)
            for top, left, h, w in inference.slide_boxes((height, width), crop, step):
                part = (..., slice(top, top + h), slice(left, left + w))
                total[part] += bilinear(model(image[part]), (h, w))
                count[part] += 1
            return bilinear(total / count, ORIGINAL)
        low = model(image)
        return bilinear(bilinear(low, image.shape[2:]) if preset == "two_step" else low, ORIGINAL)

    views = [logits(image).softmax(1) for image in images]
    views += [logits(image.flip(3)).softmax(1).flip(3) for image in images if flip]
    expected = sum(views)[0].topk(2, dim=0)
    settings = {"mode": mode, "upsample": preset, "stride": step, "flip": flip}
    found = label_all(model, images, crop, **settings)
    differ = found != expected.indices[0].numpy()
    gaps = (expected.values[0] - expected.values[1]).numpy()[differ]
    assert differ.sum() < 5 and (gaps < 1e-5).all()


@pytest.mark.parametrize("stride", [(65, 40), (40, 65)])
def test_stride_must_cover_the_image(stride):
    with pytest.raises(ValueError, match="at most crop_size"):
        labels(network(), mode="slide", crop_size=(64, 64), stride=stride)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratios": []}, "ratios is"),
        ({"ratios": [1.0, 0.0]}, r"ratios.1. is 0.0"),
        ({"ratios": [1, 1.0]}, "each once"),
        ({"ratios": [float("nan")]}, r"ratios.0. is nan"),
        ({"mode": "square", "ratios": [0.5, 1.0]}, "mode square brings every size"),
        ({"mode": "tiles"}, "mode"),
        ({"upsample": "three_step"}, "upsample"),
        ({"mode": "slide", "stride": [0, 0]}, "test.stride is"),
        ({"mode": "slide", "stride": [8, 8], "upsample": "one_step"}, "one_step, but the windows"),
        ({"img_scale": [0, 5]}, "img_scale"),
        ({"align": 0}, "align"),
        ({"flipped": True}, "unknown key 'test.flipped'; did you mean 'flip'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    plain = {"split": "val", "img_scale": [64, 48], "align": None, "mode": "whole"}
    plain |= {"stride": [0, 0], "upsample": "two_step", "ratios": [1.0], "flip": False}
    assert build(recipe.Test, plain, "here", "test.").ratios == (1.0,)
    with pytest.raises(ValueError, match=message):
        build(recipe.Test, plain | changes, "here", "test.")


@pytest.mark.parametrize("mode", ["square", "slide"])
def test_modes_that_need_a_crop_size_say_so(mode):
    with pytest.raises(ValueError, match=f"{mode} needs crop_size"):
        labels(network(), mode=mode, stride=(8, 8))
