"""Batches of detection: photos of unequal size, padded at the bottom and right to one.

Every batch holds wide photos alone or tall ones alone, since a batch of both would be mostly
padding. Of the photos in random order, a batch takes the next ones of one kind, as detectron2's
AspectRatioGroupedDataset does. Each photo comes once an epoch: what remains of both kinds is mixed
at its end, as is the batch that two epochs share.
"""

from functools import lru_cache

import cv2
import numpy as np
import torch

from lemore.data.augment.detection import DetectionSample, DetectionTransform
from lemore.data.loader import Batch, CropBatches, shuffle
from lemore.data.store import Part, Store


class DetectionBatches(CropBatches):
    """Batch number -> this rank's part of it, for `TrainBatches`.

    A batch of b photos is {"image": uint8 b 3 H W (RGB), "sizes": int32 b 2 (h, w), the part that
    is not padding, "boxes": float32 b M 4 (x1 y1 x2 y2 in pixels), "classes": int64 b M train ids,
    "counts": int64 b}. Of the M rows of a photo the first `counts` are boxes, the others 0. H and W
    are multiples of the transform's `align`, and the same for all ranks.
    """

    transform: DetectionTransform

    def order(self, epoch: int) -> np.ndarray:
        return _order(self, epoch)

    def __getitem__(self, iteration: int) -> Batch:
        first = iteration * self.batch_size
        indices = [self.find_index(first + i) for i in range(self.batch_size)]
        frame = self.transform.find_frame(self.store.list_sizes()[indices])
        return join([self.draw_sample(first + position) for position in self.positions], frame)


def join(samples: list[DetectionSample], frame: tuple[int, int]) -> Batch:
    """Pads samples to the (H, W) of `frame` and joins them to a batch."""
    count, most = len(samples), max(len(sample.boxes) for sample in samples)
    batch = {
        "image": torch.zeros((count, 3, *frame), dtype=torch.uint8),
        "sizes": torch.tensor([sample.image.shape[:2] for sample in samples], dtype=torch.int32),
        "boxes": torch.zeros((count, most, 4)),
        "classes": torch.zeros((count, most), dtype=torch.int64),
        "counts": torch.tensor([len(sample.boxes) for sample in samples]),
    }
    for row, sample in enumerate(samples):
        height, width = sample.image.shape[:2]
        # H W 3 -> 3 H W, in place
        cv2.split(sample.image, [*batch["image"][row, :, :height, :width].numpy()])
        batch["boxes"][row, : len(sample.boxes)] = torch.from_numpy(sample.boxes)
        batch["classes"][row, : len(sample.boxes)] = torch.from_numpy(sample.classes)
    return batch


def take_labelled(store: Store) -> Part:
    """Returns the photos that have objects, crowds included: training takes no others."""
    indices = np.flatnonzero(store.count_objects()).tolist()
    if not indices:
        raise ValueError(f"{store.folder}: no photo of split '{store.split}' has an object")
    return Part(store, indices)


@lru_cache(maxsize=4)
def _order(batches: DetectionBatches, epoch: int) -> np.ndarray:
    """Order of the photos in an epoch, uint32; every photo once."""
    count, size = len(batches.store), batches.batch_size
    order = shuffle(batches.seed, epoch, count)
    begun = -epoch * count % size  # photos that complete the batch of the epoch before
    rest = order[begun:]
    sides = batches.store.list_sizes()[rest]
    tall = sides[:, 0] > sides[:, 1]
    full, left = [], []
    for places in (np.flatnonzero(tall), np.flatnonzero(~tall)):
        whole = len(places) // size * size
        full.append(places[:whole].reshape(-1, size))
        left.append(places[whole:])
    rows = np.concatenate(full)
    rows = rows[np.argsort(rows[:, -1])]  # a batch comes when it is full
    places = np.concatenate([rows.ravel(), np.sort(np.concatenate(left))])
    return np.concatenate([order[:begun], rest[places]])
