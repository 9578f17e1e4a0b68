"""Batches of detection: what is in them, and that they follow from seed and iteration alone."""

import numpy as np
import pytest
import torch

from lemore.data import objects
from lemore.data.augment.detection import DetectionTransform
from lemore.data.augment.segmentation import fit_size
from lemore.data.detection_batches import DetectionBatches, take_labelled
from lemore.data.loader import TrainBatches
from lemore.data.objects import Objects
from lemore.data.photo import PIXELS
from lemore.data.store import PackWriter, Store
from lemore.runtime.files import write_json

TRANSFORM = DetectionTransform((96, 64), 0.5, 32)


def make_photo(number: int) -> tuple[np.ndarray, Objects]:
    """A black photo, wide or tall, with bright rectangles where its boxes are; of crowds, boxes
    without area and every fifth photo there is none."""
    rng = np.random.default_rng(number)
    size = np.array((40, 55) if number % 3 else (60, 41)) + rng.integers(0, 5, 2)
    image, boxes = np.zeros((*size, 3), np.uint8), []
    for k in range(0 if number % 5 == 4 else number % 3 + 1):
        top, left = (int(rng.integers(2 + 13 * k, 8 + 13 * k)), int(rng.integers(2, size[1] - 12)))
        boxes.append((left, top, left + int(rng.integers(4, 10)), top + int(rng.integers(4, 8))))
        image[top : boxes[-1][3], left : boxes[-1][2], k] = 255
    count = len(boxes)
    odd = [(1, 1, 9, 9), (3, 3, 3, 20), (5, 5, 20, 5.5)] if count else []
    crowd = np.array([False] * count + [True, False, False][: len(odd)], bool)
    classes = np.array([*range(count), *([9] * len(odd))], np.int64)
    found = np.array([*boxes, *odd], np.float32).reshape(-1, 4)
    return image, Objects(found, classes, crowd, np.full(len(found), 7, np.float32))


def make_store(folder, count: int) -> Store:
    writer = PackWriter(folder, "train", "detection")
    for number in range(count):
        image, found = make_photo(number)
        packed = objects.pack(found, number)
        writer.add(f"p{number}", image.shape[:2], image.tobytes(), PIXELS, packed)
    writer.close()
    digest = {"dataset": "d", "task": "detection", "num_classes": 10, "classes": list("abcdefghij")}
    write_json(folder / "digest.json", digest | {"splits": {"train": {}}, "class_frequencies": []})
    return Store(folder, "train")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"), 31)


def batches(store, **changes) -> TrainBatches:
    values = {"seed": 3, "batch_size": 4, "start": 0, "stop": 20, "kind": DetectionBatches}
    return TrainBatches(store, TRANSFORM, **{**values, **changes})


def assert_equal(left, right):
    left, right = list(left), list(right)
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_boxes_stay_on_what_they_show(store):
    mirrored = set()
    for batch in batches(store):
        height, width = batch["image"].shape[2:]
        assert height % 32 == width % 32 == 0
        assert batch["image"].dtype == torch.uint8 and batch["boxes"].dtype == torch.float32
        for row, count in enumerate(batch["counts"].tolist()):
            h, w = batch["sizes"][row].tolist()
            image, boxes = batch["image"][row], batch["boxes"][row]
            assert min(h, w) == 64 or max(h, w) == 96
            assert not image[:, h:].any() and not image[:, :, w:].any()
            assert not boxes[count:].any() and not batch["classes"][row, count:].any()
            assert batch["classes"][row, :count].tolist() == list(range(count))
            for k in range(count):
                bright = image[k] > 127
                rows, columns = (torch.nonzero(bright.any(axis))[:, 0] for axis in (1, 0))
                seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
                assert np.allclose(boxes[k], seen, atol=1)
            mirrored.add(bool(count) and bool(boxes[0, 0] > w / 2))
    assert mirrored == {True, False}


def test_photos_are_resized_and_mirrored_as_their_boxes():
    image, found = make_photo(1)
    for probability in (0, 1):
        transform = DetectionTransform((1333, 800), probability, 128)
        sample = transform(image, found, np.random.default_rng(0))
        height, width = image.shape[:2]
        assert sample.image.shape[:2] == fit_size((height, width), (1333, 800))
        factor = np.array([sample.image.shape[1] / width, sample.image.shape[0] / height] * 2)
        expected = found.boxes[: len(sample.boxes)] * factor
        if probability:
            expected[:, [0, 2]] = sample.image.shape[1] - expected[:, [2, 0]]
        assert np.allclose(sample.boxes, expected, atol=1e-3) and len(sample.boxes) == 2
    sizes = np.array([[480, 640], [427, 640], [640, 480], [100, 900]])
    frames = [
        DetectionTransform((1333, 800), 0, 128).find_frame(sizes[i : i + 1]) for i in range(4)
    ]
    assert frames == [(896, 1152), (896, 1280), (1152, 896), (256, 1408)]


def test_every_photo_once_an_epoch_and_batches_of_one_kind(store):
    count, made = len(store), batches(store)
    draws = [made.batches.find_index(draw) for draw in range(4 * count)]
    for epoch in range(4):
        assert sorted(draws[epoch * count : (epoch + 1) * count]) == list(range(count))
    tall = store.list_sizes()[draws] @ [1, -1] > 0
    kinds = [len(set(tall[i : i + 4].tolist())) for i in range(0, 4 * count, 4)]
    assert sum(kind == 2 for kind in kinds) <= 3 * 4 and {True, False} == set(tall.tolist())
    assert draws[:count] != draws[count : 2 * count]


def test_a_batch_larger_than_the_store(store):
    made = batches(store, batch_size=2 * len(store), stop=2)
    names = made.list_names(1)
    assert sorted(names) == sorted(2 * [store.name(i) for i in range(len(store))])
    assert len(list(made)) == 2


def test_workers_resuming_and_ranks_change_nothing(store):
    whole = list(batches(store))
    assert_equal(whole, batches(store, workers=2))
    for start in (1, 7, 19):
        assert_equal(batches(store, start=start), whole[start:])
    parts = [list(batches(store, rank=rank, world_size=2)) for rank in (0, 1)]
    for batch, *halves in zip(whole, *parts, strict=True):
        for key in ("image", "sizes", "counts"):  # the same padding everywhere
            assert torch.equal(batch[key], torch.cat([half[key] for half in halves]))
        for row in range(4):
            half, place = halves[row // 2], row % 2
            number = int(batch["counts"][row])
            assert torch.equal(batch["boxes"][row, :number], half["boxes"][place, :number])


def test_training_takes_photos_with_objects_alone(store, tmp_path):
    part = take_labelled(store)
    assert [part.name(i) for i in range(len(part))] == [f"p{i}" for i in range(31) if i % 5 != 4]
    assert (part.list_sizes() == store.list_sizes()[[i for i in range(31) if i % 5 != 4]]).all()
    assert all(batch["counts"].min() > 0 for batch in batches(part, stop=8))
    image, none = make_photo(4)
    writer = PackWriter(tmp_path, "train", "detection")
    writer.add("p", image.shape[:2], image.tobytes(), PIXELS, objects.pack(none, 4))
    writer.close()
    (tmp_path / "digest.json").write_bytes((store.folder / "digest.json").read_bytes())
    with pytest.raises(ValueError, match="no photo of split 'train' has an object"):
        take_labelled(Store(tmp_path, "train"))
    (batch,) = batches(Store(tmp_path, "train"), batch_size=2, stop=1)
    assert batch["boxes"].shape == (2, 0, 4) and batch["classes"].shape == (2, 0)
