"""The paired bootstrap against closed forms and simulated data."""

import numpy as np
import pytest
from scipy import stats

from lemore.evaluation.metrics import Confusion
from lemore.evaluation.statistics import (
    compare,
    compute_miou,
    correct_p_values,
    number_blocks,
    resample,
)

UNION = 10_000


def one_class(shares) -> np.ndarray:
    """Pixels 3 N 1 of one class whose union is the same in every image: mIoU is the mean share."""
    hits = np.round(np.asarray(shares)[:, None] * UNION).astype(np.int64)
    return np.stack([hits, hits, np.full_like(hits, UNION)])


def alone(number: int) -> np.ndarray:
    return np.arange(number)


def compared(first, second, draws=4000):
    """Shares by seed and image of two models -> their difference, each image a block."""
    drawn = resample([one_class(s) for s in (*first, *second)], alone(len(first[0])), draws)
    return compare(drawn[: len(first)], drawn[len(first) :])


def test_miou_of_counts_is_that_of_the_confusion_matrix():
    rng = np.random.default_rng(3)
    labels, predictions = rng.integers(0, 5, (2, 6, 20, 30)).astype(np.uint8)
    labels[labels == 4] = 255  # class 4 has no label
    predictions[predictions == 3] = 0  # class 3 is never predicted
    whole, parts = Confusion(7, 255), []
    for prediction, label in zip(predictions, labels, strict=True):
        whole.update(prediction, label)
        one = Confusion(7, 255)
        one.update(prediction, label)
        m = one.matrix
        parts.append((np.diag(m), m[:, :-1].sum(axis=0), m.sum(axis=1)))
    counts = np.stack(parts, axis=1)  # 3 N K
    expected = pytest.approx(whole.compute_measures()["miou"])
    assert compute_miou(counts.sum(axis=1)) == expected
    assert resample([counts], alone(6), 10)[0].miou == expected
    assert np.isnan(compute_miou(np.zeros((3, 4))))


def test_images_alone_give_the_t_interval_of_pairs():
    rng = np.random.default_rng(0)
    first = rng.uniform(0.3, 0.7, 40)
    second = first - rng.normal(0.01, 0.03, 40)
    found = compared([first, first], [second, second], draws=20_000)
    pairs = first - second
    low, high = stats.t.interval(0.95, 39, pairs.mean(), stats.sem(pairs))
    assert found.difference == pytest.approx(pairs.mean(), abs=1e-4)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.0006)
    assert found.p == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.015)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seeds_alone_give_the_t_interval_of_two_samples(seeds):
    rng = np.random.default_rng(seeds)
    a, b = rng.normal(0.42, 0.02, seeds), rng.normal(0.40, 0.02, seeds)
    images = np.ones(30)
    found = compared([v * images for v in a], [v * images for v in b], draws=40_000)
    test = stats.ttest_ind(a, b)
    low, high = test.confidence_interval(0.95)
    width = high - low
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.04 * width)
    assert found.p == pytest.approx(test.pvalue, abs=0.015)


def simulated(rng, seeds, images, gap, seed_sd, image_sd):
    """Two models: shared difficulty of images, an effect of each seed, noise of each image."""
    hard = rng.normal(0.5, 0.1, images)

    def model(mean):
        return [
            np.clip(hard + mean + rng.normal(0, seed_sd) + rng.normal(0, image_sd, images), 0, 1)
            for _ in range(seeds)
        ]

    return model(gap), model(0.0)


@pytest.mark.parametrize(
    ("seeds", "images", "seed_sd", "image_sd"),
    [(2, 24, 0.0, 0.05), (2, 24, 0.02, 0.05), (3, 60, 0.02, 0.02), (5, 10, 0.005, 0.05)],
)
def test_equal_models_differ_at_the_nominal_rate(seeds, images, seed_sd, image_sd):
    rng = np.random.default_rng(seeds)
    runs = 400
    found = [
        compared(*simulated(rng, seeds, images, 0.0, seed_sd, image_sd), draws=500)
        for _ in range(runs)
    ]
    wrong = sum(f.p < 0.05 for f in found) / runs
    outside = sum(not f.low <= 0 <= f.high for f in found) / runs
    margin = 3 * (0.05 * 0.95 / runs) ** 0.5
    assert wrong == pytest.approx(0.05, abs=margin) and outside == pytest.approx(0.05, abs=margin)


def test_a_known_difference_is_found():
    rng = np.random.default_rng(11)
    runs = [simulated(rng, 3, 60, 0.05, 0.005, 0.05) for _ in range(60)]
    found = [compared(*run, draws=500) for run in runs]
    assert np.mean([f.difference for f in found]) == pytest.approx(0.05, abs=0.003)
    assert sum(f.low > 0 for f in found) >= 57
    assert sum(f.low <= 0.05 <= f.high for f in found) >= 53


def test_neighbouring_frames_count_once():
    """Ten equal frames in a row tell as much as one: without blocks every noise is 'better'."""
    rng = np.random.default_rng(5)
    names = [f"a_{i:03}" for i in range(240)]
    blocks = number_blocks(names, "[^_]+", 10)
    wrong = np.zeros(2)
    for _ in range(80):
        a, b = np.repeat(rng.normal(0.5, 0.05, (2, 24)), 10, axis=1)
        counts = [one_class(s) for s in (a, a, b, b)]
        for k, groups in enumerate((blocks, alone(240))):
            drawn = resample(counts, groups, 400)
            wrong[k] += compare(drawn[:2], drawn[2:]).p < 0.05
    assert wrong[0] / 80 < 0.13 and wrong[1] / 80 > 0.4


def test_the_data_set_is_resampled_not_the_mean_of_images():
    """A class in few images: its IoU comes from summed counts, not from images' IoUs."""
    hits = np.array([[90, 0], [80, 5]])
    counts = np.array([hits, [[100, 0], [100, 10]], [[100, 0], [100, 20]]])
    drawn = resample([counts], alone(2), 2000)[0]
    assert drawn.miou == pytest.approx((170 / 230 + 5 / 25) / 2)
    both = {  # images (0, 0), (0, 1), (1, 1); class 1 is only in the second
        round(90 / 110, 6),
        round((170 / 230 + 5 / 25) / 2, 6),
        round((80 / 120 + 5 / 25) / 2, 6),
    }
    assert set(np.round(drawn.draws, 6)) == both
    assert np.isin(np.round(drawn.draws, 6), round(90 / 110, 6)).mean() == pytest.approx(
        0.25, abs=0.04
    )


def test_one_seed_is_never_enough():
    drawn = resample([one_class(np.linspace(0.2, 0.9, 20))] * 3, alone(20), 10)
    for first, second in ((drawn[:1], drawn[1:2]), (drawn[:2], drawn[2:])):
        with pytest.raises(ValueError, match="at least two"):
            compare(first, second)


def test_the_same_input_gives_the_same_answer():
    rng = np.random.default_rng(1)
    run = simulated(rng, 2, 30, 0.01, 0.01, 0.05)
    assert compared(*run) == compared(*run)


def test_blocks_keep_to_their_sequence_and_are_of_equal_size():
    names = [f"0001TP_{8550 + 30 * i:06}" for i in range(62)]
    names += [f"Seq05VD_f{30 * i:05}" for i in range(171)]
    blocks = number_blocks(names, "[^_]+", 10)
    sizes = np.bincount(blocks)
    assert len(sizes) == 6 + 17 and set(sizes) <= {10, 11}
    assert not set(blocks[:62]) & set(blocks[62:])
    assert (np.diff(blocks) >= 0).all()
    shuffled = np.random.default_rng(0).permutation(len(names))
    assert (number_blocks([names[i] for i in shuffled], "[^_]+", 10) == blocks[shuffled]).all()
    with pytest.raises(ValueError, match=r"image '_x' does not begin with the pattern '\[\^_\]\+'"):
        number_blocks(["_x"], "[^_]+", 10)


def test_holm_against_hand_computed_values():
    assert correct_p_values([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert correct_p_values([0.6, 0.7]) == [1.0, 1.0] and correct_p_values([]) == []
