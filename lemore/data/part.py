"""A part of a split, such as the one that a search trains on, or holds out to judge by."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lemore.data.store import Store

ONE_IN = 10


class Part:
    """Some samples of a store, read as a store."""

    def __init__(self, store: Store, indices: Sequence[int]):
        self.store, self.indices = store, indices

    @property
    def task(self) -> str:
        return self.store.task

    @property
    def num_classes(self) -> int:
        return self.store.num_classes

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        return self.store.name(self.indices[index])

    def read(self, index: int) -> tuple[np.ndarray, Any]:
        return self.store.read(self.indices[index])


def take_part(store: Store, held_out: bool) -> Part:
    """The samples that a search holds out, a tenth chosen by their names alone, or the others."""
    indices = [i for i in range(len(store)) if _is_held_out(store.name(i)) == held_out]
    if not indices:
        raise ValueError(f"{store.folder}: too few training images to hold some out")
    return Part(store, indices)


def _is_held_out(name: str) -> bool:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % ONE_IN == 0
