"""The loader's promise: batches follow from seed and iteration alone."""

import pickle
import threading

import numpy as np
import pytest
import torch

from lemore.data import loader
from lemore.data.augment.classification import ClassificationTransform
from lemore.data.augment.segmentation import TrainTransform
from lemore.data.loader import TrainBatches
from lemore.data.normalize import normalize
from lemore.data.photo import PIXELS, Photo


class MemoryStore:
    """As a prepared split: images whose first pixel tells their index."""

    def __init__(self, count: int, task: str = "segmentation", broken: int | None = None):
        self.count, self.task, self.broken = count, task, broken

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"image_{index:03d}"

    def read(self, index: int):
        if index == self.broken:
            raise OSError("truncated file")
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (40 + index, 50, 3), dtype=np.uint8)
        return image, rng.integers(0, 5, image.shape[:2], dtype=np.uint8)

    def open(self, index: int):
        image, _ = self.read(index)
        return Photo(image, PIXELS, image.shape[:2]), index


class Identify:
    """Passes on which image came, and one random number."""

    crop_size = (1, 1)

    def __call__(self, image, label, rng):
        noise = np.full((1, 1, 3), rng.integers(256), np.uint8)
        return Item(noise, np.uint8(label), (1, 1))


class Item:
    def __init__(self, image, label, valid):
        self.image, self.label, self.valid = image, label, valid
        self.distortion = self.mixture = None


TRANSFORM = TrainTransform((64, 48), (0.5, 2.0), (32, 40), 0.75, 0.5, "cpu")


def batches(store=None, transform=TRANSFORM, **changes) -> TrainBatches:
    values = {"seed": 3, "batch_size": 4, "start": 0, "stop": 5}
    store = MemoryStore(7) if store is None else store
    return TrainBatches(store, transform, **{**values, **changes})


def assert_equal(left, right):
    left, right = list(left), list(right)
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_shapes_and_types():
    (batch,) = batches(stop=1)
    assert batch["image"].shape == (4, 3, 32, 40) and batch["image"].dtype == torch.uint8
    assert batch["label"].shape == (4, 32, 40) and batch["label"].dtype == torch.uint8
    assert batch["valid"].shape == (4, 2) and batch["valid"].dtype == torch.int32


def test_workers_change_nothing():
    assert_equal(batches(), batches(workers=2))


def test_the_thread_that_makes_batches_does_not_end():
    """While it ended it would hold a lock of OpenCV's, and a worker forked then would hang."""
    list(batches())
    first = {thread for thread in threading.enumerate() if thread.name.startswith("batches")}
    list(batches())
    assert len(first) == 1 and first <= set(threading.enumerate())


def test_resume_at_any_iteration():
    whole = list(batches())
    for start in range(6):
        assert len(batches(start=start)) == 5 - start
        assert_equal(batches(start=start), whole[start:])
    assert_equal(batches(start=3, workers=2), whole[3:])


def test_a_late_start_reads_no_more_than_an_early_one():
    """So that going on at iteration 100,000 takes as long as at iteration 10."""
    read = []

    class Counting(MemoryStore):
        def read(self, index: int):
            read.append(index)
            return super().read(index)

    for start in (10, 100_000):
        read.clear()
        iterator = iter(batches(Counting(7), start=start, stop=200_000))
        next(iterator)
        iterator.close()
        assert len(read) <= 4 * (loader.AHEAD + 2)  # batches of 4


def test_iterating_twice_gives_the_same():
    once = batches()
    assert_equal(once, list(once))


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_batch(world_size):
    whole = list(batches())
    ranks = [list(batches(rank=rank, world_size=world_size)) for rank in range(world_size)]
    joined = [
        {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        for parts in zip(*ranks, strict=True)
    ]
    assert_equal(joined, whole)


def test_batch_must_divide_among_ranks():
    with pytest.raises(ValueError, match="batch_size 4 does not divide among 3"):
        batches(world_size=3)


def test_every_image_once_an_epoch_in_a_new_order_each():
    store = MemoryStore(12, "classification")
    items = batches(store, Identify(), stop=9)
    order = torch.cat([batch["label"] for batch in items]).reshape(3, 12)
    assert all(sorted(epoch) == list(range(12)) for epoch in order.tolist())
    assert len({tuple(epoch) for epoch in order.tolist()}) == 3


def test_augmentation_differs_by_draw_and_seed():
    store = MemoryStore(4, "classification")
    noise = [
        torch.cat([batch["image"].flatten() for batch in batches(store, Identify(), seed=seed)])
        for seed in (1, 2)
    ]
    assert not torch.equal(noise[0], noise[1])
    assert len(set(noise[0].tolist())) > 10


def test_classification_labels():
    transform = ClassificationTransform((16, 24), (0.3, 1.0), (0.75, 1.33), 0.5)
    (batch,) = batches(MemoryStore(5, "classification"), transform, stop=1)
    assert batch["image"].shape == (4, 3, 16, 24)
    assert batch["label"].dtype == torch.int64 and batch["label"].shape == (4,)
    assert batch["valid"].tolist() == [[16, 24]] * 4


@pytest.mark.parametrize("workers", [0, 2])
def test_failure_names_the_sample(workers):
    store = MemoryStore(7, broken=5)
    with pytest.raises(OSError, match=r"^sample 5 \('image_005'.*OSError: truncated file"):
        list(batches(store, workers=workers))


def test_pickle_and_early_stop():
    copy = pickle.loads(pickle.dumps(batches(stop=1000)))
    iterator = iter(copy)
    first = next(iterator)
    iterator.close()
    assert_equal([first], batches(stop=1))


def test_nothing_left_to_do():
    assert (
        list(batches(start=5)) == list(batches(start=9)) == list(batches(start=5, workers=1)) == []
    )


def test_empty_split_is_refused():
    with pytest.raises(ValueError, match="no image"):
        batches(MemoryStore(0))


def test_the_order_is_cached_and_read_only():
    order = loader.shuffle(1, 2, 30)
    assert loader.shuffle(1, 2, 30) is order
    with pytest.raises(ValueError):
        order[0] = 1


def test_normalize():
    image = torch.randint(0, 256, (2, 3, 5, 6), dtype=torch.uint8)
    valid = torch.tensor([[5, 6], [3, 4]], dtype=torch.int32)
    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    deviation = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    expected = (image.double() - mean) / deviation
    expected[1, :, 3:] = 0
    expected[1, :, :, 4:] = 0
    actual = normalize(image, valid)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected.float(), atol=1e-5, rtol=0)
    assert (actual[1, :, 3:] == 0).all() and (actual[1, :, :, 4:] == 0).all()
    torch.testing.assert_close(normalize(image[:1], None), actual[:1])
