"""Writes files beside an evaluation's JSON: label maps, panels, counts by image and class."""

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lemore.data.store import Store
from lemore.reporting.prediction import draw_panel
from lemore.runtime.files import hash_file, write_atomic, write_json

PER_CLASS = "per_class.json"


def check_output(path: Path) -> None:
    """ValueError, before the work, for a --json that could not be written after it.

    Predictions go into the folder of the same name without `.json`.
    """
    if path.suffix != ".json" or path.is_dir():
        raise ValueError(f"--json: {path} should be a file whose name ends in .json")
    folder = path.with_suffix("")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--json: {folder} is a file, and predictions would go there; remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"--json: {path.parent} may not be written")


def write_predictions(path: Path, predictions: dict[str, Any]) -> dict[str, str]:
    """Writes index PNGs of train ids beside the JSON; returns image name -> file."""
    files = {}
    for name, labels in sorted(predictions.items()):
        file = Path(path.stem) / f"{name}.png"
        write_atomic(path.parent / file, cv2.imencode(".png", labels)[1].tobytes())
        files[name] = str(file)
    return files


def write_details(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Writes the counts by image, or a detector's boxes; returns the record's entry."""
    if "boxes" in found:
        return {"boxes": write_boxes(path, found["boxes"])}
    return {"per_image": write_per_image(path, found["per_image"])}


def write_boxes(path: Path, boxes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Writes <name of the JSON>/boxes.json in the form that COCO's server takes; returns file and
    sha256."""
    file = Path(path.stem) / "boxes.json"
    write_atomic(path.parent / file, json.dumps(boxes))
    return {"file": str(file), "sha256": hash_file(path.parent / file)}


def write_per_image(path: Path, arrays: dict[str, Any]) -> dict[str, str]:
    """Writes <name of the JSON>/per_image.npz (without pickle); returns file and sha256."""
    file = Path(path.stem) / "per_image.npz"
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(path.parent / file, buffer.getvalue())
    return {"file": str(file), "sha256": hash_file(path.parent / file)}


def write_panels(path: Path, store: Store, predictions: dict[str, Any]) -> list[Path]:
    """Writes <name of the JSON>/panels/<image>.jpg: image, ground truth and prediction."""
    files = []
    for name, prediction in sorted(predictions.items()):
        files.append(path.parent / path.stem / "panels" / f"{name}.jpg")
        image, label = store.read(store.find(name))
        write_atomic(files[-1], draw_panel(image, (label, prediction), store.read_colors()))
    return files


def write_class_table(path: Path, record: dict[str, Any]) -> Path:
    """Writes <name of the JSON>/per_class.json: results by class, as MLflow reads tables."""
    columns = {"class": record["classes"]}
    if "iou" in record:
        names = {"IoU": "iou", "accuracy": "acc", "boundary IoU": "boundary_iou"}
        columns |= {name: record[key] for name, key in names.items()}
        columns["labelled pixels"] = [sum(row) for row in record["confusion"]]
    else:
        columns["AP"] = record["ap_by_class"]
    rows = zip(*columns.values(), strict=True)
    file = path.parent / path.stem / PER_CLASS
    write_json(file, {"columns": list(columns), "data": list(rows)})
    return file
