"""Compares two models: a paired bootstrap over images, with the seeds' spread.

Both models are judged on the same resampled images: whole images, or blocks of neighbouring video
frames, are drawn with replacement, and the data set's mIoU is computed from the summed counts,
averaged over each model's seeds (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993;
blocks: Kuensch, Annals of Statistics 17, 1989).

Two or three seeds drawn with replacement would understate their spread by half or a third, and
ignore how uncertain it is. So seeds are resampled parametrically: each draw adds a normal effect to
the difference of the means; its variance is the models' pooled variance over a chi-square of its
degrees of freedom. The draws over images are widened likewise, and narrowed by the interaction of
seeds and images, which the spread between seeds already contains. If all images are equal, this is
the t interval of two samples; if all seeds are equal and the measure is a mean, that of pairs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000
LEVEL = 0.95
CHUNK = 500  # draws computed at a time


@dataclass(frozen=True)
class Difference:
    """mIoU of one model less another's, in fractions; low and high bound the 95 % interval.

    p: two-sided, for no difference.
    """

    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Resampled:
    """mIoU (fraction) of one evaluation: on all images, and on each draw of them."""

    miou: float
    draws: np.ndarray
    blocks: int


def compute_miou(counts: np.ndarray) -> np.ndarray:
    """Mean IoU (fraction) over the classes that have a union; nan if none has.

    counts: 3 ... K pixels, intersection, predicted and labelled; those with the ignored label are
    in none, as in `metrics.Confusion`. Returns an array of the shape `...`.
    """
    intersection, predicted, labelled = counts
    union = predicted + labelled - intersection
    known = union > 0
    iou = np.divide(intersection, union, out=np.zeros(union.shape), where=known)
    number = known.sum(axis=-1)
    return np.where(number > 0, iou.sum(axis=-1) / np.maximum(number, 1), np.nan)


def number_blocks(names: Sequence[str], sequence: str, length: int) -> np.ndarray:
    """Returns each video frame's block: about `length` frames in a row of one sequence.

    sequence: regular expression for the beginning of a name; frames whose names begin alike are
    one sequence, in the order of their names. A sequence is cut into blocks of nearly equal size.
    ValueError if a name has no such beginning.
    """
    sequences: dict[str, list[int]] = {}
    for i in sorted(range(len(names)), key=lambda i: names[i]):
        if (found := re.match(sequence, names[i])) is None:
            raise ValueError(f"image '{names[i]}' does not begin with the pattern '{sequence}'")
        sequences.setdefault(found[0], []).append(i)
    blocks = np.zeros(len(names), dtype=np.int64)
    number = 0
    for frames in sequences.values():
        for part in np.array_split(frames, max(round(len(frames) / length), 1)):
            blocks[part] = number
            number += 1
    return blocks


def resample(
    evaluations: Sequence[np.ndarray], blocks: np.ndarray, draws: int = DRAWS
) -> list[Resampled]:
    """Computes the mIoU of evaluations of the same images on the same draws of blocks.

    evaluations: 3 N K pixels by image, as `compute_miou` takes them. blocks: number of the block of
    each image, 0 to B - 1; a single image is a block of one.
    """
    size = int(blocks.max()) + 1
    summed = [np.zeros((3, size, counts.shape[2])) for counts in evaluations]  # 3 B K
    for totals, counts in zip(summed, evaluations, strict=True):
        for total, values in zip(totals, counts, strict=True):
            np.add.at(total, blocks, values)
    drawn = np.empty((len(evaluations), draws))
    rng = np.random.default_rng(0)
    for start in range(0, draws, CHUNK):
        part = slice(start, min(start + CHUNK, draws))
        times = rng.multinomial(size, np.full(size, 1 / size), size=part.stop - start)
        for row, total in zip(drawn, summed, strict=True):
            row[part] = compute_miou(times.astype(np.float64) @ total)
    points = [float(compute_miou(total.sum(axis=1))) for total in summed]
    return [Resampled(miou, row, size) for miou, row in zip(points, drawn, strict=True)]


def compare(first: Sequence[Resampled], second: Sequence[Resampled]) -> Difference:
    """Difference of two models, each with its seeds' evaluations on the same draws.

    ValueError unless both have the same number of seeds, at least two, and there are two blocks:
    one seed does not show how much seeds differ.
    """
    seeds, blocks = len(first), first[0].blocks
    if seeds != len(second) or seeds < 2 or blocks < 2:
        raise ValueError(
            f"{seeds} and {len(second)} seeds, {blocks} blocks: a comparison needs the same number "
            "of seeds, at least two, and two blocks of images"
        )
    rng = np.random.default_rng(1)
    point = _average_miou(first) - _average_miou(second)
    draws = point + _draw_image_effect(first, second, rng) + _draw_seed_effect(first, second, rng)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    rarer = min((draws <= 0).sum(), (draws >= 0).sum())
    p = min(1.0, 2 * (float(rarer) + 1) / (draws.size + 1))
    return Difference(point, float(low), float(high), p)


def _draw_image_effect(
    first: Sequence[Resampled], second: Sequence[Resampled], rng: np.random.Generator
) -> np.ndarray:
    """Draws the effect of other images on the difference of the means."""
    seeds, blocks = len(first), first[0].blocks
    drawn = np.array([[e.draws for e in model] for model in (first, second)])  # 2 seeds draws
    means = drawn.mean(axis=1)
    change = means[0] - means[1] - (_average_miou(first) - _average_miou(second))
    if not change.any():
        return change
    own = (drawn - means[:, None]).var(axis=2).sum() / (seeds - 1) / seeds  # of the seeds alone
    share = max(1 - own / change.var(), 0) ** 0.5
    return share * change * np.sqrt(blocks / rng.chisquare(blocks - 1, change.size))


def _draw_seed_effect(
    first: Sequence[Resampled], second: Sequence[Resampled], rng: np.random.Generator
) -> np.ndarray:
    """Draws the effect of other seeds on the difference of the means: a scaled t."""
    seeds, draws = len(first), first[0].draws.size
    squares = sum((e.miou - _average_miou(model)) ** 2 for model in (first, second) for e in model)
    variance = squares / rng.chisquare(2 * (seeds - 1), draws)
    return rng.standard_normal(draws) * np.sqrt(2 * variance / seeds)


def _average_miou(model: Sequence[Resampled]) -> float:
    return sum(evaluation.miou for evaluation in model) / len(model)


def correct_p_values(p: Sequence[float]) -> list[float]:
    """Corrects p values for their number (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    corrected, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected
