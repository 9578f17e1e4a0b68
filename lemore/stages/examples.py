"""The chosen images of a dataset with the predictions that evaluations have kept."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lemore.config.read import did_you_mean
from lemore.data.store import Store
from lemore.reporting.figures.boxes import Boxes, BoxExample
from lemore.reporting.figures.comparison import Example
from lemore.reporting.overlay import Color
from lemore.reporting.tables.results import Result
from lemore.runtime.files import read_json


def read_examples(store: Store, names: Iterable[str], chosen: list[Result]) -> list[Example]:
    """Reads image, label and the prediction of each chosen evaluation, by the image's name.

    ValueError if an evaluation speaks of other classes than the store's.
    """
    _check_classes(store, chosen)
    found = []
    for name in names:
        image, label = store.read(store.find(name))
        predictions = tuple(_read_prediction(result, name) for result in chosen)
        found.append(Example(name, image, label, predictions))
    return found


def read_box_examples(store: Store, names: Iterable[str], chosen: list[Result]) -> list[BoxExample]:
    """Reads image, objects and the boxes of each chosen evaluation, by the image's name.

    Of an evaluation's boxes these are as many of the surest ones as the image has objects, crowds
    left out. ValueError if it speaks of other classes than the store's.
    """
    _check_classes(store, chosen)
    files = [Path(one["file"]).parent / one["boxes"]["file"] for one in chosen]
    rows = [read_json(file) for file in files]
    colors, found = store.read_colors(), []
    for name in names:
        index = store.find(name)
        image, objects = store.read(index)
        alone = np.flatnonzero(~objects.crowd)
        kinds = objects.classes[alone].tolist()
        texts, hues = tuple(store.classes[k] for k in kinds), tuple(colors[k] for k in kinds)
        place = (store, store.read_image_id(index), len(kinds), colors)
        predictions = tuple(_read_boxes(one, *place) for one in rows)
        truth = Boxes(objects.boxes[alone], texts, hues)
        found.append(BoxExample(name, image, truth, predictions))
    return found


def _read_boxes(
    rows: list[dict[str, Any]], store: Store, image_id: int, most: int, colors: list[Color]
) -> Boxes:
    """Reads the surest boxes of an image from an evaluation's rows in COCO's form."""
    own = [row for row in rows if row["image_id"] == image_id]
    kept = sorted(own, key=lambda row: -row["score"])[:most]
    kinds = [store.category_ids.index(row["category_id"]) for row in kept]
    corners = np.array([row["bbox"] for row in kept], np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    texts = [f"{store.classes[k]} {row['score']:.2f}" for k, row in zip(kinds, kept, strict=True)]
    return Boxes(corners, tuple(texts), tuple(colors[k] for k in kinds))


def _check_classes(store: Store, chosen: list[Result]) -> None:
    for result in chosen:
        if result["classes"] != store.classes:
            raise ValueError(
                f"{result['file']}: {store.dataset} had other classes, or in another order, when "
                f"it was evaluated than {store.folder} has now; evaluate again"
            )


def _read_prediction(result: Result, name: str) -> np.ndarray:
    """Reads the label map H W uint8 that an evaluation has kept for an image."""
    if name not in result["predictions"]:
        raise ValueError(
            f"{result['file']}: no prediction of image '{name}' was kept"
            f"{did_you_mean(name, result['predictions'])}"
        )
    with Image.open(Path(result["file"]).parent / result["predictions"][name]) as image:
        return np.asarray(image)
