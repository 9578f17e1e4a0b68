"""Results and an unfinished training left by the previous layout (commit e25314e).

tests/stages/layout_1 was made by that commit from the tiny dataset of tests/conftest.py, without
the state of the unfinished training, which is large and not read here.
"""

import json
import shutil
from pathlib import Path

import cv2
import pytest
from conftest import Tiny

import lemore
from lemore.runtime.files import read_json

MODEL = "lraspp_mobilenet_v3_small"


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Tiny:
    made = Tiny(tmp_path_factory.mktemp("old"))
    shutil.copytree(Path(__file__).parent / "layout_1/results", made.folder / "results")
    return made


def find_weights(old: Tiny) -> Path:
    return old.folder / f"results/old/finetune/tiny/{MODEL}/0/weights.pt"


def test_weights_are_loaded_and_predict(old, tmp_path):
    model = lemore.load(find_weights(old))
    image = cv2.imread(
        str(Path(__file__).parent / f"layout_1/results/old/evaluate/tiny/{MODEL}/0/val_1.png")
    )
    result = model.predict(image)
    assert result.label_map.shape == image.shape[:2]
    cv2.imwrite(str(tmp_path / "photo.png"), image)
    options = ("--output", tmp_path / "out", "--data-dir", old.folder / "data")
    old.lemore("predict", "--checkpoint", find_weights(old), *options, tmp_path / "photo.png")
    assert "class 1" in (tmp_path / "out/classes.csv").read_text()  # by the prepared dataset


def test_an_evaluation_gives_what_it_gave(old, tmp_path):
    config = old.folder / f"results/old/config/evaluate/tiny/{MODEL}.yaml"
    command = ["evaluate", "--checkpoint", find_weights(old), "--dataset", "tiny"]
    command += ["--data-dir", old.folder / "data", "--config", config]
    old.lemore(*command, "--json", tmp_path / "0.json")
    before = read_json(old.folder / f"results/old/evaluate/tiny/{MODEL}/0.json")
    after = read_json(tmp_path / "0.json")
    assert after["confusion"] == before["confusion"]
    assert after["miou"] == pytest.approx(before["miou"])
    assert set(before) <= set(after)


def test_it_is_shared_with_the_names_of_its_classes(old, tmp_path):
    options = ("--output", tmp_path / "shared", "--data-dir", old.folder / "data")
    old.lemore("share", "--checkpoint", find_weights(old), *options)
    names = json.loads((tmp_path / "shared/config.json").read_text())["classes"]["names"]
    assert names == [f"class {k}" for k in range(4)]
    assert lemore.load(tmp_path / "shared").classes == tuple(names)


def test_an_unfinished_training_is_kept_and_named(old):
    checkpoints = old.folder / f"results/old/checkpoints/finetune/tiny/{MODEL}/0"
    (left,) = checkpoints.iterdir()
    config = old.finetune_job(MODEL, iterations=2, checkpoint_every=1, validate_every=0, threads=1)
    command = ["finetune", "--config", config, "--data", old.data]
    command += ["--output", old.folder / "out", "--checkpoints", checkpoints]
    done = old.lemore(*command)
    assert [path.name for path in checkpoints.iterdir()] == [left.name]
    assert (left / "identity.json").exists() and str(left) in done.stderr
    assert "earlier layout" in done.stderr
