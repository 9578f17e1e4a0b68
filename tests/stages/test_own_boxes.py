"""What `lemore train` finds where photos have boxes, and what it refuses."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import lemore
from lemore.cli import main
from lemore.config.experiment import Experiment
from lemore.data.store import Store
from tests.own_commands import (
    PHOTOS,
    find,
    put,
    put_boxes,
    put_masks,
    put_photos,
    read_run,
    record_calls,
    refuse,
)
from tests.own_folders import encode, label, photo

ROOT = Path(__file__).parents[2]
DETECTOR = ("--model", "retinanet_lemore")
BOXES = ("--images", "data/photos", "--masks", "data/boxes.json")


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
        put_boxes(f"data/annotations/{split}.json", names="abc")
    lemore.train("yard.yaml", model="retinanet_lemore", output="project", dry_run=True)
    run = read_run()
    assert run["recipe_changes"]["train"]["crop_size"] == [128, 171]  # fits the whole photo
    with monkeypatch.context() as inside:
        inside.chdir("project")
        recipe, _ = Experiment(run).recipe("yard", "retinanet_lemore")
    assert recipe.detection_head["norm"] == "group"
    shutil.rmtree("project")
    error = refuse(capsys, "yard.yaml")
    assert "lemore is a model for segmentation, but yard.yaml" in error
    assert "retinanet_lemore, retinanet_mobilenet_v3" in error and "segformer_b0" not in error


def test_one_json_describes_photos_and_classes_and_splits_are_drawn(capsys):
    """What is described is prepared, and the store holds the boxes of the JSON."""
    put_photos()
    put_boxes("data/boxes.json")
    found = find(*BOXES, *DETECTOR)
    assert found["task"] == "detection" and found["num_classes"] == 2
    assert found["files"] == {
        "images": "images/{name}.jpg", "masks": "annotations.json", "mask": "coco",
        "draw": {"seed": 0, "shares": {"train": 0.8, "val": 0.2}},
    }  # fmt: skip
    shown = capsys.readouterr().out
    assert "classes: lily, reed\n" in shown and "a fifth of the photos, drawn by name" in shown
    config = ["--dataset-config", "project/config/datasets/data.yaml"]
    archives = ["--archives-dir", "project/resources/archives", "--output", "fetched.json"]
    assert main(["fetch", *config, *archives]) == 0
    assert main(["prepare", *config, "--fetched", "fetched.json", "--output", "prepared/data"]) == 0
    boxes = {}
    for split in ("train", "val"):
        store = Store(Path("prepared/data"), split)
        assert f"{split} {len(store)}" in shown
        for i in range(len(store)):
            objects = store.read_label(i)
            boxes[store.name(i)] = (objects.boxes.tolist(), objects.classes.tolist())
    assert boxes == {str(n): ([[n, 2, n + 9, 10]], [n % 2]) for n in range(PHOTOS)}


@pytest.mark.parametrize(
    ("images", "boxes"),
    [
        ("data/{}/{{}}.jpg", "data/{}/_annotations.coco.json"),
        ("data/images/{}/{{}}.jpg", "data/annotations/instances_{}.json"),
    ],
)
def test_splits_of_one_folder_are_found(images, boxes):
    """Masks beside the boxes are no photos; a detector may have a single class."""
    for split in ("train", "valid"):
        put_photos(images.format(split))
        put_boxes(boxes.format(split), names=["lily"])
    put_masks("data/masks/{}.png", label())
    found = find("data", *DETECTOR)
    assert found["splits"] == {"train": None, "val": None}
    assert found["files"] == {
        "images": images[5:].format("{split}").replace("{}", "{name}"),
        "masks": boxes[5:].format("{split}"), "mask": "coco", "split_folders": {"val": "valid"},
    }  # fmt: skip


def test_tall_photos_give_a_tall_size():
    tall = np.ascontiguousarray(photo("tall").transpose(1, 0, 2))  # 32 x 24 (H, W)
    for number in range(PHOTOS):
        put(f"data/photos/{number}.jpg", encode(tall, "JPEG"))
    put_boxes("data/boxes.json")
    find(*BOXES, *DETECTOR)
    run = read_run()
    train = run["recipe_changes"]["train"]
    assert train["crop_size"] == [171, 128] and train["img_scale"] == [171, 128]
    assert run["profiles"] == {"retinanet_lemore": ["data@171x128"]}


def test_faulty_photos_are_left_out_up_to_a_tenth(capsys):
    put_photos(count=20)
    put_boxes("data/boxes.json", count=20)
    put("data/photos/3.jpg", b"no photo")
    assert find(*BOXES, *DETECTOR)["quarantine_limit"] == 2
    assert "3" not in read_run()["comparisons"]["data"]["images"]
    shutil.rmtree("project")
    put_boxes("data/boxes.json", count=24)  # four photos are not there
    assert "unusable samples (quarantine_limit 2)" in refuse(capsys, *BOXES, *DETECTOR)


def test_what_has_no_boxes_is_refused(capsys):
    put_photos()
    put_masks("data/masks/{}.png", label())
    assert "no JSON of COCO's form with boxes" in refuse(capsys, "data", *DETECTOR)
    put_boxes("data/boxes.json")
    error = refuse(capsys, *BOXES)
    assert "boxes.json: no annotation has a polygon" in error and "retinanet_lemore" in error
    put("data/boxes.json", json.dumps({"images": [], "annotations": [], "categories": []}))
    assert "boxes.json: names no category" in refuse(capsys, *BOXES, *DETECTOR)
    put_boxes("data/val.json")
    put_boxes("data/test.json")
    Path("data/boxes.json").unlink()
    assert "one for each split" in refuse(capsys, "data", *DETECTOR)
