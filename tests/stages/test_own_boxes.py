"""What `lemore train` finds where photos have boxes, and what it refuses."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

import lemore
from lemore.config.experiment import Experiment
from tests.own_commands import PHOTOS, put, put_photos, record_calls, refuse

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def calls(tmp_path, monkeypatch) -> list[tuple]:
    return record_calls(tmp_path, monkeypatch)


def test_boxes_of_a_described_dataset_are_for_detectors(capsys, monkeypatch):
    """By the YAML of docs/own_dataset.md."""
    text = (ROOT / "docs/own_dataset.md").read_text()
    _, described, _ = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    put("yard.yaml", described.replace("/data/yard", "data"))
    for split in ("train", "val"):
        put_photos(f"data/{split}/{{}}.jpg")
        boxes = [
            {"id": n, "image_id": n, "category_id": 7, "bbox": [1, 2, 9, 8]} for n in range(PHOTOS)
        ]
        coco = {
            "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(PHOTOS)],
            "categories": [{"id": 7 + k, "name": name} for k, name in enumerate("abc")],
            "annotations": boxes,
        }
        put(f"data/annotations/{split}.json", json.dumps(coco))
    lemore.train("yard.yaml", model="retinanet_lemore", output="project", dry_run=True)
    run = yaml.safe_load(Path("project/config/config.yaml").read_text())
    assert run["recipe_changes"]["train"]["crop_size"] == [128, 171]  # fits the whole photo
    with monkeypatch.context() as inside:
        inside.chdir("project")
        recipe, _ = Experiment(run).recipe("yard", "retinanet_lemore")
    assert recipe.detection_head["norm"] == "group"
    shutil.rmtree("project")
    assert "lemore is a model for segmentation, but yard.yaml" in refuse(capsys, "yard.yaml")
    words = "retinanet_lemore finds boxes: name a dataset's YAML"
    assert words in refuse(capsys, "data", "--model", "retinanet_lemore")
