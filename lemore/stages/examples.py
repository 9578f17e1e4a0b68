"""The chosen images of a dataset with the predictions that evaluations have kept."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from lemore.config.read import did_you_mean
from lemore.data.store import Store
from lemore.reporting.figures.comparison import Example
from lemore.reporting.tables.results import Result


def read_examples(store: Store, names: Iterable[str], chosen: list[Result]) -> list[Example]:
    """Reads image, label and the prediction of each chosen evaluation, by the image's name.

    ValueError if an evaluation's label maps speak of other classes than the store's.
    """
    for result in chosen:
        if result["classes"] != store.classes:
            raise ValueError(
                f"{result['file']}: {store.dataset} had other classes, or in another order, when "
                f"it was evaluated than {store.folder} has now; evaluate again"
            )
    found = []
    for name in names:
        image, label = store.read(store.find(name))
        predictions = tuple(_read_prediction(result, name) for result in chosen)
        found.append(Example(name, image, label, predictions))
    return found


def _read_prediction(result: Result, name: str) -> np.ndarray:
    """Reads the label map H W uint8 that an evaluation has kept for an image."""
    if name not in result["predictions"]:
        raise ValueError(
            f"{result['file']}: no prediction of image '{name}' was kept"
            f"{did_you_mean(name, result['predictions'])}"
        )
    with Image.open(Path(result["file"]).parent / result["predictions"][name]) as image:
        return np.asarray(image)
