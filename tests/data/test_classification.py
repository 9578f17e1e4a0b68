"""Transforms of pretraining: erasing, mixtures, and draws that follow from the seed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lemore.data.augment.classification import ClassificationTransform, erase, mix, swap_partners
from lemore.data.loader import TrainBatches
from lemore.data.normalize import MEAN, STD
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
    ranks = [
        batches(rank=rank, world_size=world_size, workers=workers) for rank in range(world_size)
    ]
    for iteration, batch in enumerate(whole):
        parts = [rank[iteration] for rank in ranks]
        for key in batch:
            assert torch.equal(torch.cat([part[key] for part in parts]), batch[key])
        mixed, _ = mix(batch["image"].float(), batch["share"])
        apart = torch.cat([mix(part["image"].float(), part["share"])[0] for part in parts])
        assert torch.equal(mixed, apart)


def test_a_run_goes_on_at_any_iteration():
    whole = batches()
    for start in range(4):
        for late, early in zip(batches(start=start), whole[start:], strict=True):
            assert all(torch.equal(late[key], early[key]) for key in early)


def test_what_is_switched_off_changes_no_draw():
    plain = ClassificationTransform((32, 40), (0.08, 1.0), (0.75, 1.33), 0.5)
    image = Photos().read(1)[0]
    for seed in range(20):
        base = plain(image, 1, np.random.default_rng(seed))
        other = ClassificationTransform((32, 40), (0.08, 1.0), (0.75, 1.33), 0.5, None, 0.0, 0.2)
        mixed = other(image, 1, np.random.default_rng(seed))
        np.testing.assert_array_equal(base.image, mixed.image)
        assert base.share is None and mixed.share is not None and 0 <= mixed.share <= 1


def test_erased_rectangles_are_noise_of_the_right_size():
    shares, values = [], []
    for seed in range(300):
        image = np.zeros((80, 100, 3), np.uint8)
        erase(image, np.random.default_rng(seed))
        touched = image.any(2)
        rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert touched[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.9
        assert 0.25 < height / width < 4.0
        shares.append(height * width / 8000)
        values.append(image[touched])
    assert 0.015 < min(shares) < 0.03 and 0.3 < max(shares) < 0.34
    noise = (np.concatenate(values) - np.array(MEAN)) / np.array(STD)
    assert np.abs(noise.mean(0)).max() < 0.02 and np.abs(noise.std(0) - 1).max() < 0.08


def test_mixtures_are_of_neighbours():
    images, share = torch.randn(4, 3, 5, 6), torch.tensor([0.25, 0.9, 1.0, 0.1])
    mixed, shares = mix(images, share)
    assert shares.tolist() == [0.25, 0.25, 1.0, 1.0]
    torch.testing.assert_close(mixed[0], 0.25 * images[0] + 0.75 * images[1])
    torch.testing.assert_close(mixed[1], 0.25 * images[1] + 0.75 * images[0])
    assert torch.equal(mixed[2:], images[2:])
    assert swap_partners(torch.arange(6)).tolist() == [1, 0, 3, 2, 5, 4]
    with pytest.raises(ValueError, match="a worker takes 3 images at once"):
        mix(images[:3], share[:3])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_a_mixture_is_that_of_mixed_labels(smoothing):
    """Cross-entropy against smoothed one-hot vectors mixed as the images are."""
    logits, label, other = torch.randn(4, 6), torch.tensor([0, 1, 2, 5]), torch.tensor([1, 0, 5, 2])
    share = torch.tensor([0.3, 0.3, 0.8, 0.8])
    target = share[:, None] * F.one_hot(label, 6) + (1 - share)[:, None] * F.one_hot(other, 6)
    target = (1 - smoothing) * target + smoothing / 6
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    loss = losses.compute_classification_loss(logits, label, smoothing, (other, share))
    torch.testing.assert_close(loss, expected)


def test_top_k_counts_labels_among_the_k_largest():
    """By sorting each row; with fewer classes than k every label is among them."""
    logits, label = torch.randn(200, 7), torch.randint(0, 7, (200,))
    ranks = [
        sorted(row, reverse=True).index(row[k])
        for row, k in zip(logits.tolist(), label, strict=True)
    ]
    for k in (1, 5):
        assert int(losses.count_correct(logits, label, k)) == sum(rank < k for rank in ranks)
    assert int(losses.count_correct(logits[:, :3], label % 3, 5)) == 200
