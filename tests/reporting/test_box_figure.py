"""The comparison of detectors shows the true boxes, and each model's surest ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from lemore.cli import main
from lemore.data.store import Store
from lemore.reporting.figures import boxes
from lemore.stages.examples import read_box_examples
from tests.small_coco import IDS, NAMES, make_coco_store, make_objects

CAR = boxes.Boxes(np.array([[10.0, 20, 60, 70]]), ("car 0.90",), ((255, 0, 0),))
NONE = boxes.Boxes(np.zeros((0, 4)), (), ())


def write_evaluation(folder: Path, model: str, rows: list[dict], **changes: object) -> Path:
    result = {
        "stage": "evaluate", "dataset": "dots", "model": model, "label": "RetinaNet",
        "encoder": model, "seed": 0, "scenes": True, "classes": NAMES, "train_crop": [128, 128],
        "iterations": 4, "recipe": "own recipe", "test_mode": "whole", "predictions": {},
        "boxes": {"file": f"{model}/boxes.json"}, **changes,
    }  # fmt: skip
    (folder / model).mkdir()
    (folder / f"{model}/boxes.json").write_text(json.dumps(rows))
    path = folder / f"{model}.json"
    path.write_text(json.dumps(result))
    return path


def make_row(image_id: int, kind: int, box: list[float], score: float) -> dict:
    return {"image_id": image_id, "category_id": IDS[kind], "bbox": box, "score": score}


def test_a_box_is_drawn_where_it_is_with_its_text():
    image = np.full((80, 120, 3), 90, np.uint8)
    example = boxes.BoxExample("a", image, CAR, (NONE, CAR))
    figure = boxes.draw([example], ["One", "Two"], True)
    truth, one, two = figure.axes
    for axes, count in ((truth, 1), (one, 0), (two, 1)):
        found = [p for p in axes.patches if isinstance(p, Rectangle)]
        assert len(found) == count == len(axes.texts)
    (drawn,) = (p.get_bbox().extents.tolist() for p in two.patches)
    assert drawn == [9.5, 19.5, 59.5, 69.5] and two.texts[0].get_text() == "car 0.90"
    assert [axes.get_title() for axes in figure.axes] == ["Ground Truth", "One", "Two"]
    words = boxes.describe([example], ["One", "Two"], True)
    assert "the true ones, and of One, Two" in words and "drawn scenes" in words


def test_as_many_of_the_surest_boxes_are_shown_as_there_are_objects(tmp_path):
    """Three objects beside a crowd; rows of other images and the least sure ones are left out."""
    store = Store(make_coco_store(tmp_path / "dots"), "val")
    rows = [make_row(1000, k % 3, [k, 2, 10, 20], k / 10) for k in (1, 4, 2, 3)]
    rows.append(make_row(1001, 0, [0, 0, 5, 5], 0.9))
    result = {"file": str(tmp_path / "a.json"), "classes": NAMES, "boxes": {"file": "boxes.json"}}
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    (example,) = read_box_examples(store, ["val_0"], [result])
    assert example.truth.texts == tuple(NAMES)
    assert (example.truth.corners == make_objects(0).boxes[:3]).all()
    (found,) = example.predictions
    assert found.texts == ("square 0.40", "circle 0.30", "star 0.20")
    assert found.corners.tolist()[0] == [4, 2, 14, 22]
    with pytest.raises(ValueError, match="dots had other classes"):
        read_box_examples(store, ["val_0"], [result | {"classes": NAMES[::-1]}])


def test_the_command_draws_detectors(tmp_path):
    data = make_coco_store(tmp_path / "dots")
    paths = [write_evaluation(tmp_path, m, [make_row(1000, 0, [1, 1, 9, 9], 0.5)]) for m in "ab"]
    prefix = tmp_path / "out/comparison_dots"
    command = ["figure", "comparison", "--data", data, "--split", "val", "--images", "val_0"]
    command += ["val_1", "--evaluations", *paths, "--models", "b", "a", "--output", prefix]
    assert main([*map(str, command)]) == 0
    assert prefix.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    with Image.open(prefix.with_suffix(".png")) as image:
        assert "RetinaNet (b), RetinaNet (a)" in image.info["Description"]
