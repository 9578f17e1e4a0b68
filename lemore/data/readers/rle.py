"""COCO's compressed run lengths: masks as strings, columns first.

The counts alternate between background and foreground, beginning with background. From the
fourth on, a count is written as its difference to the one two before. Each number is cut into
groups of 5 bits, lowest first, with a sixth bit that is set where more follow, and printed as the
character 48 + group; the highest bit of the last group is the sign. They are read here rather than
by pycocotools, which reads beyond the end of a text that is cut short.
"""

from typing import Any

import numpy as np
import pycocotools.mask

MAX_SHIFT = 50  # bits below a number's last group; no image has so many pixels


def decode(mask: dict) -> np.ndarray:
    """{"size": [H, W], "counts": str or list} -> H x W bool; ValueError if the runs do not fit."""
    return fill(read_runs(mask), tuple(mask["size"]))


def read_runs(mask: dict) -> np.ndarray:
    """Returns the run lengths of a mask as int64; ValueError unless they add up to its size."""
    height, width = mask["size"]
    counts = mask["counts"]
    runs = np.array(_parse_runs(counts) if isinstance(counts, str) else counts)
    if runs.ndim != 1 or runs.dtype != np.int64:
        raise ValueError("run lengths are no list of whole numbers")
    if runs.min() < 0 or runs.max() > height * width or runs.sum() != height * width:
        raise ValueError(f"run lengths add up to {runs.sum()}, expected {height} x {width}")
    return runs


def fill(runs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Run lengths that fit `size` -> H x W bool."""
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size[::-1]).T


def encode(mask: np.ndarray) -> dict:
    """H x W bool -> {"size": [H, W], "counts": str}."""
    runs = pycocotools.mask.encode(np.asfortranarray(mask, np.uint8))
    counts: Any = runs["counts"]  # bytes, which its annotations call str
    return {"size": list(mask.shape), "counts": counts.decode()}


def _parse_runs(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text.encode():
        group = character - 48
        if not 0 <= group < 64 or shift > MAX_SHIFT:
            raise ValueError("not a text of run lengths")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("a text of run lengths that is cut short")
    return runs
