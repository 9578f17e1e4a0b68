"""What `lemore train` finds in folders that nobody has described, and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

import lemore
from lemore.cli import main
from tests.own_commands import (
    PHOTOS,
    find,
    put,
    put_masks,
    put_photos,
    read_run,
    record_calls,
    refuse,
)
from tests.own_folders import encode, label, photo
from tests.trained_models import make_settings, write_checkpoint

SIZE = (24, 32)
COLORS = ((200, 10, 10), (10, 200, 10))


@pytest.fixture(autouse=True)
def calls(tmp_path, monkeypatch) -> list[tuple]:
    return record_calls(tmp_path, monkeypatch)


def colored() -> np.ndarray:
    return np.array(COLORS, np.uint8)[label()]


FOLDERS = ("--images", "data/photos", "--masks", "data/masks")


def test_colours_become_classes_and_splits_are_drawn():
    put_photos()
    put_masks("data/masks/{}_L.png", colored())
    found = find(*FOLDERS)
    assert [row["color"] for row in found["classes"]] == [list(color) for color in COLORS]
    assert found["files"] == {
        "images": "images/{name}.jpg", "masks": "masks/{name}_L.png", "mask": "color",
        "draw": {"seed": 0, "shares": {"train": 0.8, "val": 0.2}},
    }  # fmt: skip
    run = read_run()
    assert run["trainings"] == {"data": ["lemore"]} and run["init"] == {"lemore": "none"}
    assert Path("project/resources/archives/data/images").resolve() == Path("data/photos").resolve()


def test_names_beside_colours_are_taken_and_void_is_ignored(capsys):
    put_photos()
    third = colored()
    third[12:] = 9
    put_masks("data/masks/{}.png", third)
    names = "data/masks/label_colors.txt"
    put(names, "9 9 9 Void\n200 10 10 water lily\n10 200 10 reed\n1 1 1 bank\n")
    found = find(*FOLDERS)
    assert [row["name"] for row in found["classes"]] == ["water lily", "reed"]
    assert found["files"]["ignore"] == [[9, 9, 9]]
    assert "assumed: Void is no class, by its name" in capsys.readouterr().out
    shutil.rmtree("project")
    put_masks("data/masks/{}.png", colored())
    put("data/masks/label_colors.txt", "10 200 10 void\n200 10 10 water lily\n9 9 9 reed\n")
    with pytest.raises(AssertionError):  # one class is left
        find(*FOLDERS)
    put("data/masks/label_colors.txt", "name,r,g,b\nreed,10,200,10\nwater lily,200,10,10\n")
    assert [row["name"] for row in find(*FOLDERS)["classes"]] == ["reed", "water lily"]


@pytest.mark.parametrize(
    ("values", "classes", "ignored"),
    [
        ((0, 255), [[0], [255]], None),
        ((0, 3), [[0], [3]], None),
        ((0, 1, 7, 255), [[0], [1], [7]], [255]),
    ],
)
def test_values_become_classes(values, classes, ignored):
    put_photos()
    mask = np.repeat(np.resize(np.array(values, np.uint8), (1, SIZE[1])), SIZE[0], 0)
    put_masks("data/masks/{}.png", mask)
    found = find(*FOLDERS)
    assert [row["values"] for row in found["classes"]] == classes
    assert found["files"].get("ignore") == ignored and found["files"]["mask"] == "index"


def test_values_of_no_class_by_their_names_are_ignored(capsys):
    put_photos()
    mask = 2 * label()
    mask[0] = 1
    put_masks("data/masks/{}.png", mask)
    put("data/masks/classes.txt", "reed\nUnlabelled\nlily\n")
    found = find(*FOLDERS)
    assert [(row["name"], row["values"]) for row in found["classes"]] == [
        ("reed", [0]),
        ("lily", [2]),
    ]
    assert found["files"]["ignore"] == [1] and found["num_classes"] == 2
    assert "assumed: Unlabelled is no class, by its name" in capsys.readouterr().out


def test_masks_as_jpeg_have_a_threshold():
    put_photos()
    put_masks("data/masks/{}.jpg", label() * 255, "JPEG")
    assert find(*FOLDERS)["files"] | {"draw": 0} == {
        "images": "images/{name}.jpg", "masks": "masks/{name}.jpg", "mask": "binary",
        "threshold": 127, "draw": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("data/{}/img/{}.jpg", "data/{}/gt/{}.png"),
        ("data/images/{}/{}.jpg", "data/labels/{}/{}.png"),
        ("data/{}/{}.png", "data/{}/{}_mask.png"),
    ],
)
def test_splits_of_one_folder_are_found(images, masks):
    for split, other in (("train", "train"), ("valid", "valid")):
        for number in range(4):
            put(images.format(split, number), encode(photo(f"{split}{number}"), "PNG"))
            put(masks.format(other, number), encode(label()))
    found = find("data")
    assert found["files"]["split_folders"] == {"val": "valid"} and "draw" not in found["files"]
    assert found["files"]["images"].replace("{name}", "{}").replace("{split}", "{}") == images[5:]
    assert found["files"]["masks"].replace("{name}", "{}").replace("{split}", "{}") == masks[5:]


def test_polygons_of_yolo_coco_and_labelme_are_found():
    corners = [[2, 2], [20, 2], [20, 20]]
    put_photos("yolo/images/{}.jpg")
    put_photos("labelme/{}.jpg")
    put_photos("coco/images/{}.jpg")
    shapes = [{"label": "lily", "points": corners, "shape_type": "polygon"}]
    sides = {"imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    for number in range(PHOTOS):
        put(f"yolo/labels/{number}.txt", "1 0.1 0.1 0.9 0.1 0.5 0.9\n")
        put(f"labelme/{number}.json", json.dumps({"shapes": shapes} | sides))
    put("yolo/classes.txt", "reed\nlily")
    flat = [float(value) for corner in corners for value in corner]
    coco = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "height": SIZE[0], "width": SIZE[1]}
            for n in range(PHOTOS)
        ],
        "categories": [{"id": 3, "name": "lily"}],
        "annotations": [
            {"id": n + 1, "image_id": n, "category_id": 3, "segmentation": [flat], "iscrowd": 0}
            for n in range(PHOTOS)
        ],
    }
    put("coco/all.json", json.dumps(coco))
    names = {"yolo": ["reed", "lily"], "labelme": ["lily"], "coco": ["lily"]}
    for kind in names:
        command = (["--images", "coco/images", "--masks", "coco/all.json"], [kind])[kind != "coco"]
        assert main(["train", *command, "--output", f"p_{kind}", "--dry-run"]) == 0
        found = yaml.safe_load(Path(f"p_{kind}/config/datasets/{kind}.yaml").read_text())
        assert found["files"]["mask"] == kind and found["files"]["unlabelled"] == "background"
        assert [row["name"] for row in found["classes"]] == [*names[kind], "background"]


def test_the_same_command_goes_on_and_another_is_refused(capsys, calls):
    put_photos()
    put_masks("data/masks/{}.png", colored())
    command = ["train", *FOLDERS, "--output", "project", "--cores", "2"]
    assert main(command) == 0 and main(command) == 0
    assert [c[0] for c in calls] == ["lemore.cli", "snakemake"] * 2
    assert main([*command, "--iterations", "5"]) == 2
    assert "differs from what these options give" in capsys.readouterr().err


def test_a_start_and_a_described_dataset_are_written():
    put_photos()
    put_masks("data/masks/{}.png", colored())
    found = find(*FOLDERS)
    del found["recipe"]
    found["files"] |= {"images": "photos/{name}.jpg"}
    put("ponds.yaml", yaml.safe_dump(found | {"folder": "data"}))
    write_checkpoint(Path("weights.pt"), make_settings("segformer_b0"))
    weights = lemore.train("ponds.yaml", model="segformer_b0", init="weights.pt", dry_run=True)
    assert weights.parts[0] == "ponds-segformer_b0"
    run = yaml.safe_load(Path("ponds-segformer_b0/config/config.yaml").read_text())
    start = f"checkpoint:{Path('weights.pt').resolve()}"
    assert run["init"] == {"mit_b0": "none", "segformer_b0": start}


def test_what_the_training_starts_from_is_said_and_checked_first(capsys):
    put_photos()
    put_masks("data/masks/{}.png", colored())
    words = refuse(capsys, *FOLDERS, "--init", "lemore-camvid", "--model", "topformer_t")
    assert "start from a checkpoint of topformer_t" in words
    find(*FOLDERS, "--init", "lemore-camvid")
    shown = capsys.readouterr().out
    assert "model: starts from lemore on camvid" in shown
    assert "its terms hold for the new weights too: CC BY-NC 4.0" in shown
    model = ("--model", "lraspp_mobilenet_v3_large", "--output", "other", "--dry-run")
    assert main(["train", *FOLDERS, *model]) == 0
    assert "model: starts from torchvision:MobileNet_V3_Large_Weights" in capsys.readouterr().out
    assert yaml.safe_load(Path("other/config/config.yaml").read_text())["init"] == {}


def test_turned_photos_need_and_take_a_word(capsys):
    """Polygons on photos that a camera has turned: sizes alone do not tell how they lie."""
    put("data/masks/classes.txt", "reed\nlily")
    for number in range(PHOTOS):
        turned = encode(photo(str(number)), "JPEG", orientation=6)
        put(f"data/photos/{number}.jpg", turned)
        put(f"data/masks/{number}.txt", f"{number % 2} 0.1 0.1 0.9 0.1 0.9 0.9\n")
    assert "lemore train: --exif" in refuse(capsys, *FOLDERS)
    assert find(*FOLDERS, "--exif", "stored")["files"]["exif"] == "stored"


def test_what_cannot_be_learned_is_refused_before_anything_is_written(capsys):
    assert "name the data" in refuse(capsys, "--images", "data/photos")
    assert "no such folder" in refuse(capsys, *FOLDERS)
    put_photos()
    Path("data/masks").mkdir()
    assert "neither masks" in refuse(capsys, *FOLDERS)
    put_masks("data/masks/x{}y.png", np.zeros(SIZE, np.uint8))
    assert "fewer than two classes" in refuse(capsys, *FOLDERS)
    assert "no model 'lemor'; did you mean 'lemore'" in refuse(capsys, *FOLDERS, "--model", "lemor")
    assert "no such file" in refuse(capsys, *FOLDERS, "--init", "gone.pt")
    put_masks("data/masks/x{}y.png", photo("noise"))
    assert "colours, expected at most 64" in refuse(capsys, *FOLDERS)
    put_masks("data/masks/x{}y.png", label()[:10])
    assert "unusable samples" in refuse(capsys, *FOLDERS)


def test_files_are_named_where_they_lie(caplog, capsys):
    put_photos()
    put_masks("data/masks/{}.png", colored())
    put("data/photos/5.jpg", b"no photo")
    caplog.set_level("INFO")
    found = find(*FOLDERS)
    assert found["quarantine_limit"] == 1
    photos, masks = (Path("data", name).resolve() for name in ("photos", "masks"))
    assert f"reading {photos}, {masks}" in caplog.text
    assert f"left out: {photos}/5.jpg: is not a whole JPEG" in caplog.text
    put("data/coco.json", "{}")
    command = ["train", "--images", "data/photos", "--masks", "data/coco.json", "--output", "other"]
    assert main(command) == 2
    assert f"{Path('data/coco.json').resolve()}: not a COCO" in capsys.readouterr().err


def test_photos_that_are_left_out_are_not_compared():
    """Of 30 photos the checks open each third or so; 02 is not among them, 01 is."""
    for split in ("train", "val"):
        for number in range(30):
            put(f"data/{split}/img/{number:02}.jpg", encode(photo(f"{split}{number}"), "JPEG"))
            put(f"data/{split}/gt/{number:02}.png", encode(label()))
    for name in ("01", "02"):
        put(f"data/val/img/{name}.jpg", b"no photo")
    find("data")
    (chosen,) = read_run()["comparisons"].values()
    assert chosen["images"] == ["00", "03", "04", "05"]


@pytest.mark.parametrize(("split", "absent"), [("train", "val"), ("val", "train")])
def test_a_described_dataset_without_a_split_is_refused(capsys, split, absent):
    files = {"images": "{split}/img/{name}.jpg", "masks": "{split}/gt/{name}.png", "mask": "index"}
    described = {
        "title": "Ponds", "task": "segmentation", "num_classes": 2, "licence": "own",
        "folder": "data", "classes": [{"name": "reed"}, {"name": "lily"}],
        "splits": {split: None}, "files": files,
    }  # fmt: skip
    put("ponds.yaml", yaml.safe_dump(described))
    put_photos(f"data/{split}/img/{{}}.jpg")
    put_masks(f"data/{split}/gt/{{}}.png", label())
    words = f"ponds.yaml: splits has {split} alone, expected train and val: add `{absent}: null`"
    assert words in refuse(capsys, "ponds.yaml")


def test_masks_of_other_names_are_refused(capsys):
    put_photos()
    for name in "abc":
        put(f"data/masks/{name}.png", encode(label()))
    assert "no photo and mask have names that are alike" in refuse(capsys, *FOLDERS)
