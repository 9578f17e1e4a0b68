"""Boundary IoU against its definition, counts by image, and stages that overlap."""

import threading
import time

import cv2
import numpy as np
import pytest

from lemore.evaluation.metrics import Evaluation, measure_boundary_width
from lemore.evaluation.pipeline import AHEAD, overlap


def blobs(seed: int, num_classes: int, size: tuple[int, int], ignored: bool = True) -> np.ndarray:
    """A label map of smooth regions, uint8 (H, W), a tenth of it ignored."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(6, 7, num_classes)).astype(np.float32)
    fields = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    label = fields.reshape(*size, num_classes).argmax(2).astype(np.uint8)
    if ignored:
        label[: size[0] // 5, size[1] // 2 :] = 255
    return label


def boundary_of(mask: np.ndarray) -> np.ndarray:
    """The published definition on one bool mask: what repeated 3x3 erosion takes away, the image's
    edge being contour."""
    kept = np.pad(mask, 1)
    for _ in range(max(round(0.02 * (mask.shape[0] ** 2 + mask.shape[1] ** 2) ** 0.5), 1)):
        around = np.pad(kept, 1)
        shifts = [
            around[y:, x:][: kept.shape[0], : kept.shape[1]] for y in range(3) for x in range(3)
        ]
        kept = np.logical_and.reduce(shifts)
    return mask & ~kept[1:-1, 1:-1]


def by_definition(pairs, num_classes: int) -> list[float | None]:
    """Class by class; ignored pixels are in no mask."""
    found = []
    for k in range(num_classes):
        intersection = union = 0
        for prediction, label in pairs:
            valid = label != 255
            p, t = boundary_of((prediction == k) & valid), boundary_of(label == k)
            intersection, union = intersection + (p & t).sum(), union + (p | t).sum()
        found.append(intersection / union if union else None)
    return found


def boundary_iou(pairs, num_classes: int) -> dict:
    evaluation = Evaluation(num_classes, 255)
    for prediction, label in pairs:
        evaluation.add("", evaluation.count(prediction, label))
    return {key: evaluation.results[key] for key in ("boundary_iou", "mean_boundary_iou")}


# --- Boundary IoU


@pytest.mark.parametrize("size", [(120, 160), (90, 40), (30, 31), (7, 5), (1, 60)])
def test_agrees_with_the_definition(size):
    pairs = [(blobs(s + 50, 6, size, ignored=False), blobs(s, 6, size)) for s in range(3)]
    found = boundary_iou(pairs, 8)
    expected = by_definition(pairs, 8)
    assert found["boundary_iou"] == pytest.approx(expected)
    known = [value for value in expected if value is not None]
    assert found["mean_boundary_iou"] == pytest.approx(sum(known) / len(known))


def test_noise_is_all_boundary():
    rng = np.random.default_rng(0)
    pair = tuple(rng.integers(0, 4, (40, 50), dtype=np.uint8) for _ in range(2))
    assert boundary_iou([pair], 4)["boundary_iou"] == pytest.approx(by_definition([pair], 4))


def test_square_grown_by_a_pixel():
    label, prediction = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    assert measure_boundary_width(label.shape) == 3
    label[30:70, 30:70] = prediction[29:71, 29:71] = 1
    # rings: 42^2 - 36^2 = 468 and 40^2 - 34^2 = 444; they share 40^2 - 36^2 = 304
    assert boundary_iou([(prediction, label)], 2)["boundary_iou"][1] == 304 / (468 + 444 - 304)


def test_width_is_a_fiftieth_of_the_diagonal():
    assert measure_boundary_width((512, 683)) == 17 and measure_boundary_width((1024, 2048)) == 46
    assert measure_boundary_width((4, 4)) == 1


def test_what_is_predicted_where_it_is_ignored_does_not_matter():
    label = blobs(0, 5, (80, 90))
    right = np.where(label == 255, 0, label).astype(np.uint8)
    other = np.where(label == 255, blobs(9, 5, (80, 90), ignored=False), label).astype(np.uint8)
    found = boundary_iou([(right, label)], 6)
    assert found == boundary_iou([(other, label)], 6)
    assert found["boundary_iou"][5] is None and found["mean_boundary_iou"] == 1.0


def test_nothing_to_measure():
    blank = np.full((9, 9), 255, np.uint8)
    found = boundary_iou([(np.zeros((9, 9), np.uint8), blank)], 2)
    assert found == {"boundary_iou": [None, None], "mean_boundary_iou": None}


def test_real_labels(samples):
    folder = samples / "ade20k_samples/ADEChallengeData2016/annotations/validation"
    labels = [cv2.imread(str(p), cv2.IMREAD_UNCHANGED) - np.uint8(1) for p in folder.glob("*.png")]
    label = min(labels, key=np.size)
    prediction = np.where(label == 255, 0, np.roll(label, 5, axis=1)).astype(np.uint8)
    found = boundary_iou([(prediction, label)], 150)["boundary_iou"]
    for k in np.unique(label[label != 255])[:4]:
        valid = label != 255
        p, t = boundary_of((prediction == k) & valid), boundary_of(label == k)
        assert found[k] == pytest.approx((p & t).sum() / (p | t).sum())


# --- counts by image


def test_counts_by_image():
    evaluation = Evaluation(5, 255)
    pairs = [(blobs(s + 9, 6, (40, 50), ignored=False), blobs(s, 5, (40, 50))) for s in range(4)]
    for i, (prediction, label) in enumerate(pairs):
        evaluation.add(f"image {i}", evaluation.count(prediction, label))
    found = evaluation.per_image
    assert found.pop("names").tolist() == ["image 0", "image 1", "image 2", "image 3"]
    assert {rows.shape for rows in found.values()} == {(4, 5)}
    for i, (prediction, label) in enumerate(pairs):
        for k in range(5):
            valid = label != 255
            expected = {
                "intersection": ((prediction == k) & (label == k)).sum(),
                "predicted": ((prediction == k) & valid).sum(),
                "labelled": (label == k).sum(),
            }
            assert {name: rows[i, k] for name, rows in found.items()} == expected
    totals = {name: rows.sum(axis=0) for name, rows in found.items()}
    union = totals["predicted"] + totals["labelled"] - totals["intersection"]
    assert evaluation.results["iou"] == pytest.approx((totals["intersection"] / union).tolist())


def test_counts_do_not_overflow():
    evaluation = Evaluation(2, 255)
    label = np.zeros((100, 100), np.uint8)
    counts = evaluation.count(label, label)
    assert counts.confusion.dtype == counts.boundary.dtype == np.int64
    evaluation.add("many", counts._replace(confusion=counts.confusion * 2**38))
    evaluation.add("one", counts)
    assert evaluation.confusion.matrix[0, 0] == 10_000 * (2**38 + 1)


# --- stages side by side


def test_results_come_in_order_and_few_wait():
    waiting, most = set(), 0

    def read(i: int) -> int:
        nonlocal most
        waiting.add(i)
        most = max(most, len(waiting))
        time.sleep(0.002 * (i % 3))
        return i

    def finish(i: int) -> int:
        time.sleep(0.002 * (i % 2))
        waiting.discard(i)
        return -i

    assert list(overlap(read, lambda i: i, finish, range(50), 3)) == [-i for i in range(50)]
    assert most <= 2 * (3 + AHEAD) + 2


def test_the_model_stays_in_the_callers_thread():
    names = list(overlap(lambda i: i, lambda i: threading.current_thread().name, str, range(3), 2))
    assert set(names) == {threading.current_thread().name}
    assert list(overlap(str, str, str, [], 1)) == []


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_an_error_in_any_stage_is_raised(stage):
    def fail(i: int) -> int:
        if i == 7:
            raise ValueError("image 7")
        return i

    stages = [fail if k == stage else (lambda i: i) for k in range(3)]
    with pytest.raises(ValueError, match="image 7"):
        list(overlap(*stages, range(1000), 2))
