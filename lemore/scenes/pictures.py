"""Drawn stand-ins for photographs: street and room scenes with labels, and single objects.

Everything follows from (seed, index): the same numbers give the same pixels, whatever process
draws them and in whatever order.
"""

from typing import Literal

import numpy as np

from lemore.config import labels
from lemore.scenes.drawing import objects, rooms, streets
from lemore.scenes.drawing.vocabulary import WORDS, class_name

SCALE = 2  # drawn that much larger than wanted, then reduced
OBJECT_CLASSES = tuple(sorted(objects.CLASSES))
OBJECT_NAMES = objects.NAMES


def draw_scene(
    kind: Literal["mixed", "streets"], size: tuple[int, int], seed: int, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """(image H x W x 3 uint8 RGB, label H x W uint8 positions in WORDS) of scene `index`.

    `streets` are seen from a car; `mixed` are rooms and streets, half and half.
    """
    rng = generator(seed, index)
    if kind == "streets":
        return streets.draw(size, SCALE, rng, hood=True)
    if rng.random() < 0.5:
        return rooms.draw(size, SCALE, rng)
    return streets.draw(size, SCALE, rng, hood=False)


def draw_object(class_number: int, size: tuple[int, int], seed: int, index: int) -> np.ndarray:
    """Picture `index` of a class of OBJECT_CLASSES: H x W x 3 uint8 RGB, near the given size."""
    rng = generator(seed, index)
    height, width = (int(side * rng.uniform(0.85, 1.2)) for side in size)
    return objects.draw(OBJECT_CLASSES[class_number], (height, width), SCALE, rng)


def generator(seed: int, index: int) -> np.random.Generator:
    """Random numbers of one picture."""
    return np.random.Generator(np.random.Philox(key=[seed, index]))


def raw_values(coding: str, table_name: str) -> np.ndarray:
    """256 uint8: position in WORDS -> raw value of a label table, 0 where it has no such class."""
    values = np.zeros(256, np.uint8)
    names = labels.raw_ids_by_name(table_name)
    for position, word in enumerate(WORDS):
        name = class_name(coding, word)
        if name is not None:
            if name not in names:
                raise ValueError(f"label table '{table_name}' has no class '{name}'")
            values[position] = names[name]
    return values
