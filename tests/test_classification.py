"""What pretraining makes of images: erasing, mixtures, and draws that follow from the seed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lemore.data.classification import ClassificationTransform, erase, mix, partners
from lemore.data.loader import MEAN, STD, TrainBatches
from lemore.training import losses

FULL = ClassificationTransform((32, 40), (0.08, 1.0), (0.75, 1.33), 0.5, (9.0, 0.5), 0.5, 0.2)


class Photos:
    """As a prepared split: smooth pictures, as many classes."""

    task = "classification"

    def __len__(self) -> int:
        return 7

    def name(self, index: int) -> str:
        return str(index)

    def read(self, index: int):
        image = np.random.default_rng(index).integers(0, 256, (50 + index, 60, 3), np.uint8)
        return image, index


def batches(**changes):
    values = {"seed": 3, "batch_size": 8, "start": 0, "stop": 4}
    return list(TrainBatches(Photos(), FULL, **{**values, **changes}))


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("workers", [0, 2])
def test_images_and_mixtures_do_not_depend_on_the_workers(world_size, workers):
    whole = batches()
    rows = zip(logits.tolist(), label.tolist(), strict=True)
    ranks = [sorted(row, reverse=True).index(row[k]) for row, k in rows]
    for k in (1, 5):
        assert int(losses.accuracy(logits, label, k)) == sum(rank < k for rank in ranks)
    assert int(losses.accuracy(logits[:, :3], label % 3, 5)) == 200
