"""Batches for training, decoded and transformed in the background.

Every draw follows from (seed, global draw number), draw number = iteration * batch_size + position:
the image by a permutation per epoch, or by a class in it; its transform by a generator of its own.
Thus batches are the same for any number of workers and ranks, and a run can resume at any
iteration.
"""

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lemore.data.rare_classes import RareClasses
from lemore.data.store import Part, Store

AHEAD = 3  # batches prepared in advance by the background thread
AHEAD_PER_WORKER = 2

Batch = dict[str, torch.Tensor]


class Transform(Protocol):
    """A training transform, such as `lemore.data.augment.segmentation.TrainTransform`.

    It takes decoded images, and a `Photo` for classification. One that makes crops has their size
    as `crop_size`.
    """

    def __call__(self, image: Any, label: Any, rng: np.random.Generator, /) -> Any: ...


class TrainBatches:
    """Iterable over the batches of iterations start..stop-1, item k being iteration start + k.

    A batch is {"image": uint8 B 3 H W (RGB), "label": uint8 B H W train ids, or int64 B for
    classification, "valid": int32 B 2 (h, w), the part that is not padding}, also "distortion":
    float B 5, if the training device does that (`photometric_batch`), and "mixture": float B 5, if
    images are mixed (`lemore.data.augment.mixture`). `batch_size` is that of all ranks together;
    rank r gets the r-th of `world_size` equal parts of each batch. `workers` processes prepare
    whole batches; with 0 a background thread does. `pin_memory` puts batches of processes into
    pinned memory, from which a GPU copies them by itself. `repeats` makes an epoch of so many
    copies of that part of the images, each transformed by itself (Hoffer et al., "Augment your
    batch", 2020). `rare` says which draws take an image by a class in it, beside the epochs.
    `kind` makes batches of another form (`lemore.data.detection_batches`). OSError names the sample
    that could not be read or transformed.
    """

    def __init__(
        self,
        store: Store | Part,
        transform: Transform,
        *,
        seed: int,
        batch_size: int,
        start: int,
        stop: int,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
        repeats: int = 1,
        rare: RareClasses | None = None,
        kind: type["CropBatches"] | None = None,
    ):
        if batch_size % world_size:
            raise ValueError(
                f"batch_size {batch_size} does not divide among {world_size} processes;"
                " choose a multiple"
            )
        assert 0 <= rank < world_size and start >= 0 and seed >= 0
        if len(store) == 0:
            raise ValueError("the training split holds no image; prepare it again")
        share = batch_size // world_size
        positions = range(rank * share, (rank + 1) * share)
        make = kind or CropBatches
        self.batches = make(store, transform, seed, batch_size, positions, repeats, rare)
        self.iterations = range(start, max(start, stop))
        self.workers, self.pin_memory = workers, pin_memory

    def __len__(self) -> int:
        return len(self.iterations)

    def list_names(self, iteration: int) -> list[str]:
        """Returns the names of the samples in an iteration's batch, over all ranks."""
        batches = self.batches
        draws = range(iteration * batches.batch_size, (iteration + 1) * batches.batch_size)
        return [batches.store.name(batches.find_index(draw)) for draw in draws]

    def __iter__(self) -> Iterator[Batch]:
        if self.workers == 0:
            # The caller has planned one thread per core; OpenCV's own threads would be additional.
            cv2.setNumThreads(0)
            return _make_in_background(self.batches.__getitem__, self.iterations)
        workers = min(self.workers, max(len(self), 1))
        return _yield_from_workers(
            DataLoader(
                self.batches,
                batch_size=None,
                sampler=self.iterations,
                num_workers=workers,
                prefetch_factor=AHEAD_PER_WORKER,
                pin_memory=self.pin_memory,
                worker_init_fn=_start_worker,
            )
        )


@dataclass(eq=False)
class CropBatches(Dataset[Batch]):
    """Batch number -> this rank's part of it. Has no open files, since it is sent to processes."""

    store: Store | Part
    transform: Any
    seed: int
    batch_size: int
    positions: range
    repeats: int
    rare: RareClasses | None

    def __getitem__(self, iteration: int) -> Batch:
        count, size = len(self.positions), self.transform.crop_size
        segments = self.store.task == "segmentation"
        shape, dtype = (size, torch.uint8) if segments else ((), torch.int64)
        batch = {
            "image": torch.empty((count, 3, *size), dtype=torch.uint8),
            "label": torch.empty((count, *shape), dtype=dtype),
            "valid": torch.empty((count, 2), dtype=torch.int32),
        }
        image, label, valid = (batch[key].numpy() for key in ("image", "label", "valid"))
        further: dict[str, list[Any]] = defaultdict(list)
        for row, position in enumerate(self.positions):
            crop = self.draw_sample(iteration * self.batch_size + position)
            assert crop.image.shape[:2] == size
            cv2.split(crop.image, [*image[row]])  # H W 3 -> 3 H W, in place
            label[row] = crop.label
            valid[row] = crop.valid
            if crop.distortion is not None:
                further["distortion"].append(crop.distortion.list_values())
            if crop.mixture is not None:
                further["mixture"].append(crop.mixture)
        return batch | {key: torch.tensor(values) for key, values in further.items()}

    def find_index(self, draw: int) -> int:
        if self.rare and (chosen := self.rare.choose(self.seed, draw)) is not None:
            return chosen
        epoch, position = divmod(draw, len(self.store))
        pair, place = divmod(position, 2)  # repeated together, since neighbours may be mixed
        image = pair // self.repeats * 2 + place
        return int(self.order(epoch)[image])

    def order(self, epoch: int) -> np.ndarray:
        """Returns the order of the images in an epoch."""
        return shuffle(self.seed, epoch, len(self.store))

    def draw_sample(self, draw: int) -> Any:
        index = self.find_index(draw)
        try:
            classifies = self.store.task == "classification"
            image, label = (self.store.open if classifies else self.store.read)(index)
            rng = np.random.Generator(np.random.Philox(key=[self.seed, draw]))
            return self.transform(image, label, rng)
        except Exception as error:
            name = self.store.name(index)
            raise OSError(
                f"sample {index} ('{name}', draw {draw}): {type(error).__name__}: {error}"
            ) from error


@lru_cache(maxsize=4)
def shuffle(seed: int, epoch: int, count: int) -> np.ndarray:
    """Order of `count` images in an epoch, uint32; every image once."""
    # The counter's upper word keeps this stream apart from the transforms', whose key may be equal.
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, 1]))
    order = rng.permutation(np.arange(count, dtype=np.uint32))
    order.setflags(write=False)
    return order


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)


def _yield_from_workers(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """Yields the batches of worker processes; raises their OSError without torch's stack trace."""
    try:
        yield from loader
    except OSError as error:
        raise OSError(str(error).strip().rpartition("\nOSError: ")[2]) from error


@contextmanager
def name_dead_worker() -> Iterator[None]:
    """Turns torch's error about a dead loader process, raised in any line, into an OSError."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise OSError(
            f"a process that prepares batches has died ({str(error).split('. ')[0]}); if memory is "
            "short, lower train.loader_workers. The same command resumes"
        ) from error


def _make_in_background(make: Callable[[int], Batch], iterations: range) -> Iterator[Batch]:
    """make(i) for each iteration, in order, up to `AHEAD` batches ahead in a thread."""
    pending: deque[Future[Batch]] = deque()
    thread = _open_thread(os.getpid())
    try:
        for iteration in iterations:
            pending.append(thread.submit(make, iteration))
            if len(pending) > AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        wait(pending)


@cache
def _open_thread(_process: int) -> ThreadPoolExecutor:
    """Returns the one thread of a process that makes batches.

    It does not end before the process. A thread that has used OpenCV holds a lock of OpenCV's while
    it ends, for longer than Python waits for it; a loader worker that is forked then never gets it.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
