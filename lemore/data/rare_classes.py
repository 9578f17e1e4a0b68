"""Draws images by the classes in them, so that images of rare classes come more often."""

from dataclasses import dataclass

import numpy as np

from lemore.data.store import Part, Store


@dataclass(frozen=True, eq=False)
class RareClasses:
    """A share of the draws takes a class, all that occur being equally likely, then an image in
    which it occurs. images: for each such class, the images that hold it."""

    share: float
    images: tuple[np.ndarray, ...]

    def choose(self, seed: int, draw: int) -> int | None:
        """Returns the image of a draw, None if the draw is not one of that share."""
        # The counter's upper word keeps this stream apart from the transforms' and the epochs'.
        rng = np.random.Generator(np.random.Philox(key=[seed, draw], counter=[0, 0, 0, 2]))
        if rng.random() >= self.share:
            return None
        return int(rng.choice(self.images[rng.integers(len(self.images))]))


def find_rare_classes(store: Store | Part, share: float) -> RareClasses | None:
    """Reads all labels of a split for the classes in each; None for a share of 0."""
    if not share:
        return None
    occurs = np.zeros((len(store), store.num_classes), bool)
    for i in range(len(store)):
        counts = np.bincount(store.read_label(i).ravel(), minlength=256)
        occurs[i] = counts[: store.num_classes] > 0
    images = (np.flatnonzero(column) for column in occurs.T)
    return RareClasses(share, tuple(found for found in images if len(found)))
