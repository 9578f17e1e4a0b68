"""The chosen images of a dataset with what the evaluations kept of them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from lemore.config import did_you_mean
from lemore.data.store import Store
from lemore.reporting.comparison import Example
from lemore.reporting.results import Result


def examples(store: Store, names: Iterable[str], chosen: list[Result]) -> list[Example]:
    """Image, label and the prediction of each chosen evaluation, by the image's name."""
    found = []
    for name in names:
        image, label = store.read(store.find(name))
        predictions = tuple(_prediction(result, name) for result in chosen)
        found.append(Example(name, image, label, predictions))
    return found


def _prediction(result: Result, name: str) -> np.ndarray:
    """The label map H W uint8 that an evaluation kept of an image."""
    if name not in result["predictions"]:
        raise ValueError(
            f"{result['file']}: no prediction of image '{name}' was kept"
            f"{did_you_mean(name, result['predictions'])}"
        )
    with Image.open(Path(result["file"]).parent / result["predictions"][name]) as image:
        return np.asarray(image)


def first_seeds(evaluations: Iterable[Result]) -> list[Result]:
    """Of each model the evaluation with the smallest seed, in order of appearance."""
    found: dict[str, Result] = {}
    for result in evaluations:
        kept = found.setdefault(result["model"], result)
        if result["seed"] < kept["seed"]:
            found[result["model"]] = result
    return list(found.values())
