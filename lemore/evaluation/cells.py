"""Labels pixels from logits, interpolating only where more than one class can win.

A bilinear resize, or two of them one after the other, is linear and separable: an output pixel is
a convex combination of a small rectangle of logits, its corners. Pixels with the same corners make
a cell. Inside a cell no class exceeds its largest corner, and the winner reaches at least the
largest of all smallest corners; a class whose largest corner stays below that cannot win. Most
cells of a trained model's logits keep one candidate; the others are interpolated for theirs alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lemore.config.size import Size

BAND_VALUES = 1 << 17  # logits read in one piece: 512 KB, about a cache
BLOCK_CELLS = 1024  # cells interpolated in one piece
SAMPLED = 16  # one row of cells in so many decides whether this pays
MAX_CONTESTED = 1 / 3  # of all (cell, class) pairs; above it, interpolating every class is as fast
MIN_PIXELS = 4  # output pixels for each logit; below it, cells do not pay


class LinearResize(NamedTuple):
    """A linear resize along one axis, its output positions in groups that read the same inputs.

    Output position `positions[i, g]` is the sum over t of weights[t, i, g] * input[first[g] + t].
    A group shorter than the longest repeats its last position.
    """

    first: np.ndarray  # G
    positions: np.ndarray  # P G
    weights: Tensor  # T P G, float32
    first_of: np.ndarray  # `first` by output position

    @property
    def taps(self) -> int:
        return self.weights.shape[0]


class Candidates(NamedTuple):
    """Classes that can win, for each rectangle of corners (row by row), in ascending order."""

    classes: np.ndarray  # of all rectangles, one after the other
    start: np.ndarray  # where each rectangle's begin, and the end
    counts: np.ndarray  # how many each has


@dataclass(frozen=True)
class Cells:
    """N cells with several candidates, those with the most first."""

    corner: np.ndarray  # N: position of the first corner in a logit map
    rows: np.ndarray  # N: group of rows
    columns: np.ndarray  # N: group of columns
    start: np.ndarray  # N: first candidate
    counts: np.ndarray  # N


def label_by_cells(logits: Tensor, via: Size | None, original_size: Size) -> np.ndarray | None:
    """Returns the best class per pixel, uint8 (H, W), of logits K h w; of equal ones the first.

    via: the size between two steps, None for one step. Except for rounding, this is argmax over
    F.interpolate. Returns None where it would be no faster (noise, logits that are hardly smaller
    than the image, a GPU), and where logits are not finite.
    """
    pixels = original_size[0] * original_size[1]
    if logits.device.type != "cpu" or pixels < MIN_PIXELS * logits.shape[1] * logits.shape[2]:
        return None
    if not torch.isfinite(logits.sum()):
        return None
    logits, middle = logits.contiguous(), via or original_size
    rows = make_linear_resize(logits.shape[1], middle[0], original_size[0])
    columns = make_linear_resize(logits.shape[2], middle[1], original_size[1])
    if estimate_contested(logits, rows.taps, columns.taps) > MAX_CONTESTED:
        return None
    found = find_candidates(logits, rows.taps, columns.taps)
    across = logits.shape[2] - columns.taps + 1
    winners = found.classes[found.start[:-1]].astype(np.uint8).reshape(-1, across)
    labels = winners[rows.first_of][:, columns.first_of]
    for cells in _split_into_blocks(found, rows, columns, logits.shape[2]):
        y, x = rows.positions[:, None, cells.rows], columns.positions[None, :, cells.columns]
        labels[y, x] = _interpolate(logits, found, rows, columns, cells)
    return labels


@lru_cache(maxsize=256)
def make_linear_resize(length: int, via: int, to: int) -> LinearResize:
    """Makes the resize of `length` positions to `via`, then `to`, bilinear, align_corners=False."""
    index, weight = _find_taps(length, via)
    if via != to:
        outer, outer_weight = _find_taps(via, to)
        index = index[outer].reshape(to, -1)
        weight = (weight[outer] * outer_weight[:, :, None]).reshape(to, -1)
    used = weight > 0
    first = np.where(used, index, length).min(axis=1)
    taps = int((np.where(used, index, -1).max(axis=1) - first).max()) + 1
    first = np.minimum(first, length - taps)
    dense = np.zeros((to, taps))
    np.add.at(dense, (np.arange(to)[:, None], np.where(used, index - first[:, None], 0)), weight)
    positions = _group_positions(first)
    weights = torch.from_numpy(dense[positions].astype(np.float32)).permute(2, 0, 1)
    return LinearResize(first[positions[0]], positions, weights.contiguous(), first)


def _find_taps(length: int, to: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the input positions, `to` x 4, that each output position reads, and their weights.

    The weights are measured by resizing marks with F.interpolate itself: its float32 weights differ
    slightly from the formula's.
    """
    marks = torch.eye(4).repeat(1, length // 4 + 1)[:, :length]  # position modulo 4
    shares = F.interpolate(marks[None, :, :, None], size=(to, 1), mode="bilinear")[0, :, :, 0]
    low = np.floor((np.arange(to) + 0.5) * length / to - 0.5).astype(np.int64)
    index = np.clip(low, 0, length - 1)[:, None] + np.arange(-1, 3)
    weight = shares.numpy().T[np.arange(to)[:, None], index % 4].astype(np.float64)
    inside = (index >= 0) & (index < length)
    return np.where(inside, index, 0), np.where(inside, weight, 0.0)


def _group_positions(first: np.ndarray) -> np.ndarray:
    """Groups positions by equal `first`, P G; longer runs at the edges are cut to the others'."""
    starts = np.flatnonzero(np.diff(first, prepend=-1))
    lengths = np.diff(starts, append=len(first))
    longest = int(lengths[1:-1].max() if len(lengths) > 2 else lengths.max())
    pieces = [np.arange(s, s + n, longest) for s, n in zip(starts, lengths, strict=True)]
    starts = np.concatenate(pieces)
    ends = np.append(starts[1:], len(first))
    return np.minimum(starts + np.arange(longest)[:, None], ends - 1)


def _find_possible(logits: Tensor, rows: int, columns: int) -> np.ndarray:
    """Finds the classes that can win in rectangles of rows x columns corners.

    K n m -> bool n' m' K, one row for each rectangle.
    """
    smallest = largest = logits.permute(1, 2, 0).contiguous()
    for axis, taps in enumerate((rows, columns)):
        length = smallest.shape[axis] - taps + 1
        smallest = reduce(torch.minimum, [smallest.narrow(axis, t, length) for t in range(taps)])
        largest = reduce(torch.maximum, [largest.narrow(axis, t, length) for t in range(taps)])
    return (largest >= smallest.amax(-1, keepdim=True)).numpy()


def estimate_contested(logits: Tensor, rows: int, columns: int) -> float:
    """Estimates the share of (cell, class) pairs to interpolate from some rows of cells."""
    tops = range(0, logits.shape[1] - rows + 1, SAMPLED)
    sample = [_find_possible(logits[:, top : top + rows], rows, columns) for top in tops]
    counts = np.concatenate([np.count_nonzero(row, axis=-1) for row in sample])
    return float(counts[counts > 1].sum()) / (counts.size * logits.shape[0])


def find_candidates(logits: Tensor, rows: int, columns: int) -> Candidates:
    """Finds the candidates of all rectangles, band by band, which takes little memory."""
    classes, height, width = logits.shape
    band = max(BAND_VALUES // (classes * width), 1)
    found, counts = [], []
    for top in range(0, height - rows + 1, band):
        possible = _find_possible(logits[:, top : top + band + rows - 1], rows, columns)
        found.append(np.flatnonzero(possible) % classes)
        counts.append(np.count_nonzero(possible, axis=-1).ravel())
    number = np.concatenate(counts)
    return Candidates(np.concatenate(found), np.append(0, np.cumsum(number)), number)


def _split_into_blocks(
    found: Candidates, rows: LinearResize, columns: LinearResize, width: int
) -> Iterator[Cells]:
    across = width - columns.taps + 1
    rectangle = rows.first[:, None] * across + columns.first
    y, x = np.nonzero(found.counts[rectangle] > 1)
    order = np.argsort(-found.counts[rectangle[y, x]], kind="stable")
    for begin in range(0, len(order), BLOCK_CELLS):
        some = order[begin : begin + BLOCK_CELLS]
        some_y, some_x = y[some], x[some]
        number = rectangle[some_y, some_x]
        corner = rows.first[some_y] * width + columns.first[some_x]
        yield Cells(corner, some_y, some_x, found.start[number], found.counts[number])


def _interpolate(
    logits: Tensor, found: Candidates, rows: LinearResize, columns: LinearResize, cells: Cells
) -> np.ndarray:
    """Finds the best classes of the cells' pixels, uint8 P Q N, a candidate per cell at a time."""
    height, width = logits.shape[1:]
    flat, area = logits.reshape(-1), height * width
    by_row, by_column = rows.weights[:, :, cells.rows], columns.weights[:, :, cells.columns]
    offsets = np.arange(rows.taps)[:, None, None] * width + np.arange(columns.taps)[:, None]
    best = labels = torch.empty(0)
    for rank in range(int(cells.counts[0])):
        n = int(np.searchsorted(-cells.counts, -rank))  # cells with a candidate of this rank
        candidate = found.classes[cells.start[:n] + rank]
        index = offsets + (candidate * area + cells.corner[:n])  # Ty Tx n
        corners = torch.take(flat, torch.from_numpy(index))
        values = _combine(corners, by_row[..., :n], by_column[..., :n])
        name = torch.from_numpy(candidate.astype(np.uint8))
        if rank == 0:
            best, labels = values, name.expand(values.shape).clone()
            continue
        torch.where(values > best[..., :n], name, labels[..., :n], out=labels[..., :n])
        torch.maximum(best[..., :n], values, out=best[..., :n])
    return labels.numpy()


def _combine(corners: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """Combines corners Ty Tx n with weights Ty P n and Tx Q n, which sum to 1, to values P Q n."""
    mixed = by_row[0, :, None] * corners[0]  # P Tx n
    for weight, corner in zip(by_row[1:], corners[1:], strict=True):
        mixed.addcmul_(weight[:, None], corner)
    left = values = mixed[:, :1]
    for t in range(1, len(by_column)):
        values = torch.addcmul(values, mixed[:, t : t + 1] - left, by_column[t])
    return values
