"""Transforms of pretraining: erasing, mixtures, and draws that follow from the seed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lemore.data.augment import mixture, rand_augment
from lemore.data.augment.classification import ClassificationTransform, erase
from lemore.data.augment.mixture import mix, swap_partners
from lemore.data.loader import TrainBatches
from lemore.data.normalize import MEAN, STD
from lemore.data.photo import PIXELS, Photo
from lemore.training import losses

FULL = ClassificationTransform((32, 40), (0.08, 1.0), (0.75, 1.33), 0.5, (9.0, 0.5), 0.5, 0.2, 1.0)


class Photos:
    """As a prepared split: smooth pictures, as many classes."""

    task = "classification"

    def __len__(self) -> int:
        return 7

    def name(self, index: int) -> str:
        return str(index)

    def open(self, index: int):
        image = np.random.default_rng(index).integers(0, 256, (50 + index, 60, 3), np.uint8)
        return Photo(image, PIXELS, image.shape[:2]), index


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
        mixed, _ = mix(batch["image"].float(), batch["mixture"])
        apart = torch.cat([mix(part["image"].float(), part["mixture"])[0] for part in parts])
        assert torch.equal(mixed, apart)


def test_a_run_goes_on_at_any_iteration():
    whole = batches()
    for start in range(4):
        for late, early in zip(batches(start=start), whole[start:], strict=True):
            assert all(torch.equal(late[key], early[key]) for key in early)


def test_what_is_switched_off_changes_no_draw():
    plain = ClassificationTransform((32, 40), (0.08, 1.0), (0.75, 1.33), 0.5)
    image = Photos().open(1)[0]
    for seed in range(20):
        base = plain(image, 1, np.random.default_rng(seed))
        other = ClassificationTransform((32, 40), (0.08, 1.0), (0.75, 1.33), 0.5, None, 0.0, 0.2)
        mixed = other(image, 1, np.random.default_rng(seed))
        np.testing.assert_array_equal(base.image, mixed.image)
        assert base.mixture is None and mixed.mixture is not None
        assert 0 <= mixed.mixture.share <= 1 and mixed.mixture[1:] == (0, 0, 0, 0)


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
    images = torch.randn(6, 3, 5, 6)
    drawn = torch.tensor(
        [
            [0.25, 0, 0, 0, 0],
            [0.9, 0, 0, 0, 0],
            [1.0, 0, 0, 0, 0],
            [0.1, 0, 0, 0, 0],
            [0.8, 1, 2, 3, 5],
            [0.5, 0, 0, 5, 6],
        ]
    )
    mixed, shares = mix(images, drawn)
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.25, 1.0, 1.0, 0.8, 0.8]))
    torch.testing.assert_close(mixed[0], 0.25 * images[0] + 0.75 * images[1])
    torch.testing.assert_close(mixed[1], 0.25 * images[1] + 0.75 * images[0])
    assert torch.equal(mixed[2:4], images[2:4])
    for own, other in ((4, 5), (5, 4)):
        expected = images[own].clone()
        expected[:, 1:3, 2:5] = images[other][:, 1:3, 2:5]
        assert torch.equal(mixed[own], expected)
    assert swap_partners(torch.arange(6)).tolist() == [1, 0, 3, 2, 5, 4]
    with pytest.raises(ValueError, match="a worker takes 3 images at once"):
        mix(images[:3], drawn[:3])


def test_cut_boxes_are_as_large_as_their_share():
    """A Beta(1, 1) share is uniform; half of the pairs are cut where both alphas are given."""
    drawn = [mixture.draw(0.8, 1.0, (40, 60), np.random.default_rng(seed)) for seed in range(2000)]
    boxes = [one for one in drawn if one.bottom > one.top and one.right > one.left]
    assert 900 < len(boxes) < 1100
    for share, top, left, bottom, right in boxes:
        assert 0 <= top < bottom <= 40 and 0 <= left < right <= 60
        assert share == pytest.approx(1 - (bottom - top) * (right - left) / 2400)
    whole = [one for one in boxes if one.top > 0 and one.bottom < 40]
    whole = [one for one in whole if one.left > 0 and one.right < 60]
    ratios = [(one.bottom - one.top) / (one.right - one.left) for one in whole]
    assert np.median(ratios) == pytest.approx(40 / 60, rel=0.05)


def test_increasing_operations_begin_at_no_change():
    """By timm's formulas: posterize keeps 4 - int(4 s) bits, solarize begins at 256 - int(256 s),
    the factors are 1 +- 0.9 s."""
    image = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, 2)
    for strength in (0.0, 0.3, 0.9, 1.0):
        for index, operation in enumerate(rand_augment.OPERATIONS):
            drawn = rand_augment.DrawnOperation(index, strength, -1)
            changed = rand_augment.apply(image, [rand_augment.increase(drawn)])
            if operation is rand_augment.posterize:
                step = 2 ** (4 + int(4 * strength))
                np.testing.assert_array_equal(changed, image.astype(int) // step * step)
            elif operation is rand_augment.solarize:
                start = 256 - int(256 * strength)
                np.testing.assert_array_equal(changed, np.where(image < start, image, 255 - image))
            elif operation is rand_augment.brightness:
                exact = image * (1 - 0.9 * strength)
                assert np.abs(changed - exact).max() <= 1
            elif operation not in (rand_augment.color, rand_augment.contrast):
                assert rand_augment.increase(drawn) == drawn or operation is rand_augment.sharpness


def test_copies_of_an_image_are_transformed_apart_and_never_mixed():
    loader = TrainBatches(Photos(), FULL, seed=3, batch_size=12, start=0, stop=2, repeats=3)
    names = loader.list_names(0)[:7]  # an epoch
    assert names == [names[0], names[1]] * 3 + [names[6]] and len(set(names)) == 3
    images = next(iter(loader))["image"]
    assert not torch.equal(images[0], images[2])
    once = TrainBatches(Photos(), FULL, seed=3, batch_size=12, start=0, stop=2).list_names(0)
    assert once[:3] == [*names[:2], names[6]]


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
