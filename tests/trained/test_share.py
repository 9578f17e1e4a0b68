"""Trained models by path, name and folder: what is loaded is what was trained."""

import json
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

import lemore
from lemore.cli import main
from lemore.models.key_map import KeyMap, convert
from lemore.reporting.pages import model_card
from lemore.runtime import checkpoint
from lemore.stages.share import describe_model
from lemore.trained.find import find_checkpoint, read_trained
from tests.trained_models import make_photo, make_settings, write_checkpoint

PHOTO = make_photo(1)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(place: Path, name: str) -> Path:
    """An untrained model where the workflow would put a trained one."""
    run, dataset, model, seed = name.split("/")
    folder = place / "results" / run / "finetune" / dataset / model / seed
    return write_checkpoint(folder / "weights.pt")


def share(*options: object, code: int = 0) -> None:
    assert main(["share", *map(str, options)]) == code


def test_lemore_without_torch():
    code = "import lemore, sys; print('torch' in sys.modules, 'load' in dir(lemore))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = lemore.laod


# --- names


def test_names(place):
    first, second = train(place, "run/camvid/lemore/0"), train(place, "run/camvid/lemore_t/0")
    for name in ("run/camvid/lemore/0", "camvid/lemore", "lemore", "run/lemore/0"):
        assert find_checkpoint(name).absolute() == first
    for name in (second, second.parent, f"{second.parent}/"):
        assert find_checkpoint(str(name)) == second
    with pytest.raises(ValueError, match=r"may be run/camvid/lemore/0, run/camvid/lemore_t/0; say"):
        find_checkpoint("camvid")
    third = train(place, "run/camvid/lemore/1")
    assert find_checkpoint("lemore/1").absolute() == third
    with pytest.raises(ValueError, match=r"no such file, folder or training; did you mean 'run/"):
        find_checkpoint("run/camvid/lemroe/0")


def test_nothing_is_trained(place):
    with pytest.raises(ValueError, match="nothing is trained in results/"):
        lemore.load("camvid/lemore")


def test_weights_that_run_json_does_not_speak_of(place):
    path = train(place, "run/camvid/lemore/0")
    record = {"weights_sha256": "0" * 64, "seed": 0}
    (path.parent / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="not the weights that"):
        lemore.load(path)


# --- the Python API


def test_the_module_gives_logits(place):
    config = make_settings("topformer_t")
    model = lemore.load(write_checkpoint(place / "weights.pt", config))
    assert isinstance(model, torch.nn.Module) and not model.training
    x = torch.randn(2, 3, 128, 96)
    with torch.inference_mode():
        assert model(x).shape == (2, 11, 16, 12)
        assert torch.equal(model(x), model.network(x))


def test_a_path_a_picture_and_an_array_are_one(place):
    model = lemore.load(write_checkpoint(place / "weights.pt"))
    Image.fromarray(PHOTO).save("x.png")
    expected = model.predict(PHOTO)
    for image in ("x.png", Path("x.png"), Image.open("x.png"), Image.fromarray(PHOTO)):
        assert (model.predict(image).label_map == expected.label_map).all()
    assert expected.label_map.dtype == np.uint8 and expected.label_map.shape == PHOTO.shape[:2]
    gray = model.predict(Image.fromarray(PHOTO).convert("L"))
    assert (gray.image[..., 0] == gray.image[..., 2]).all()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (PHOTO[..., 0], r"expected uint8 \(H, W, 3\)"),
        (PHOTO / 255.0, "image is float64"),
        (None, "image is NoneType"),
        ("nowhere.jpg", "nowhere.jpg"),
    ],
)
def test_what_is_no_image(place, image, words):
    model = lemore.load(write_checkpoint(place / "weights.pt"))
    with pytest.raises((ValueError, OSError), match=words):
        model.predict(image)


def test_a_prediction_shows_and_saves_itself(place):
    result = lemore.load(write_checkpoint(place / "weights.pt")).predict(PHOTO)
    largest = max(result.shares, key=lambda name: result.shares[name])
    assert repr(result).startswith(f"Prediction(80 x 112: {largest} ")
    page = result._repr_html_()
    assert largest in page and page.startswith('<img src="data:image/jpeg;base64,')
    result.save("ids.png", "index")
    assert (np.asarray(Image.open("ids.png")) == result.label_map).all()
    result.save("overlay.png")
    assert (np.asarray(Image.open("overlay.png")) == np.asarray(result.overlay())).all()
    with pytest.raises(ValueError, match=r"saved as \.png"):
        result.save("ids.jpg", "index")
    with pytest.raises(ValueError, match="expected one of overlay, index, color"):
        result.save("overlay.png", "overly")
    with pytest.raises(ValueError, match="no picture's suffix"):
        result.save("overlay.xyz")


# --- model folders


def evaluation(path: Path, **changes: object) -> dict:
    content = checkpoint.load(path)
    values = {
        "stage": "evaluate", "dataset": "camvid", "split": "test", "images": 3, "scenes": False,
        "miou": 0.25, "aacc": 0.5, "macc": 0.3, "iou": [None, *[0.125] * 10],
        "classes": content["classes"]["names"], "finetune_run_id": "",
        "weights_sha256": checkpoint.hash_tensors(content["state_dict"]),
    }  # fmt: skip
    return values | changes


@pytest.mark.parametrize("name", ["lemore", "fcn_mobilenet_v2"])
def test_a_shared_model_is_the_model(place, name):
    """Also of one with an auxiliary head, which is left out."""
    path = write_checkpoint(place / "weights.pt", make_settings(name))
    (place / "e.json").write_text(json.dumps(evaluation(path)))
    share("--checkpoint", path, "--evaluation", "e.json", "--output", "model")
    path.rename(place / "elsewhere.pt")
    ours, theirs = lemore.load("model"), lemore.load("elsewhere.pt")
    assert (ours.predict(PHOTO).label_map == theirs.predict(PHOTO).label_map).all()
    assert ours.classes == theirs.classes and ours.classes[3] == "road"
    assert not [key for key in load_file("model/model.safetensors") if "auxiliary" in key]
    assert read_trained("model/model.safetensors").source == "model"
    share("--checkpoint", "model", "--output", "again")
    assert Path("again/config.json").read_bytes() == Path("model/config.json").read_bytes()


def test_half_is_the_nearest_float16(place):
    path = write_checkpoint(place / "weights.pt")
    share("--checkpoint", path, "--output", "whole")
    share("--checkpoint", path, "--output", "half", "--half")
    whole, stored = (load_file(f"{name}/model.safetensors") for name in ("whole", "half"))
    for name, tensor in read_trained("half").state_dict.items():
        assert tensor.dtype == whole[name].dtype and stored[name].dtype in (
            torch.float16, torch.int64,
        )  # fmt: skip
        error = (tensor - whole[name]).abs()
        assert (error <= whole[name].abs() * 2**-11 + 2**-25).all()
    assert "stored in float16" in Path("half/README.md").read_text()
    share("--checkpoint", "half", "--output", "again", "--half")
    assert (
        Path("again/model.safetensors").read_bytes() == Path("half/model.safetensors").read_bytes()
    )
    content = checkpoint.load(path)
    next(iter(content["state_dict"].values()))[:] = 1e6
    checkpoint.save(path, content)
    share("--checkpoint", path, "--output", "other", "--half", code=2)


def test_the_card(place):
    path = write_checkpoint(place / "weights.pt")
    values = evaluation(path)
    (place / "e.json").write_text(json.dumps(values))
    share("--checkpoint", path, "--evaluation", "e.json", "--output", "model")
    card = Path("model/README.md").read_text()
    for part in (
        "On 3 images of camvid, split `test`",
        "| 25.00 | 50.00 | 30.00 |",
        "| 0 | sky | - |\n| 1 | building | 12.50 |",
        "CC BY-NC 4.0",
        "fitted into 112 x 80 pixels",
        json.loads(Path("model/config.json").read_text())["training"]["weights_sha256"],
    ):
        assert part in card, card
    share("--checkpoint", path, "--output", "model", code=2)
    share("--checkpoint", path, "--output", "model", "--overwrite")
    assert "Not evaluated here" in Path("model/README.md").read_text()


def test_a_card_completed_by_hand_is_kept(place, caplog):
    path = write_checkpoint(place / "weights.pt")
    share("--checkpoint", path, "--output", "model")
    card = Path("model/README.md")
    (place / "e.json").write_text(json.dumps(evaluation(path)))
    again = ("--checkpoint", path, "--evaluation", "e.json", "--output", "model", "--overwrite")
    share(*again)
    assert "| 25.00 |" in card.read_text() and not caplog.text  # nobody had changed it
    mine = card.read_text().replace("The terms of the data", "MIT")
    card.write_text(mine)
    share(*again)
    assert card.read_text() == mine
    assert "README.md: changed by hand and kept" in caplog.text and "--renew-card" in caplog.text
    share(*again, "--renew-card")
    assert "The terms of the data" in card.read_text()


def test_the_card_names_how_it_was_tested(place):
    path = write_checkpoint(place / "weights.pt")
    how = {"test_mode": "slide, flip", "test_size": [96, 64]}
    (place / "e.json").write_text(json.dumps(evaluation(path, **how)))
    share("--checkpoint", path, "--evaluation", "e.json", "--output", "model")
    text = Path("model/README.md").read_text()
    assert "in test mode `slide, flip`, fitted into 96 x 64 pixels for the model:\n\n|" in text
    assert "fitted into 112 x 80 pixels (long x short side), mode `whole`" in text
    found = read_trained(path)
    windows = replace(found.test, mode="slide", stride=(32, 48))
    card = model_card.render(describe_model(replace(found, test=windows)), ["a"], None)
    assert "mode `slide` (windows of 64 x 64, one every 32 x 48)" in card


def test_the_card_of_a_model_trained_on_scenes(place):
    config = make_settings(dataset="cityscapes_scenes", classes=19)
    share("--checkpoint", write_checkpoint(place / "weights.pt", config), "--output", "model")
    assert "trained on drawn scenes, not on photographs" in Path("model/README.md").read_text()


CHOSEN = "weights of iteration 40, the best by val/mIoU (0.4512), chosen on split val"


def write_record(path: Path, **further: object) -> None:
    digest = checkpoint.hash_tensors(checkpoint.load(path)["state_dict"])
    same = {"seed": 0, "iterations": 60, "command": "lemore finetune", "git": "", "parents": {}}
    record = same | {"weights_sha256": digest, "mlflow_run_id": ""} | further
    (path.parent / "run.json").write_text(json.dumps(record))


def test_the_card_says_what_is_not_at_its_default(place):
    plainly = write_checkpoint(place / "a/weights.pt")
    write_record(plainly)
    share("--checkpoint", plainly, "--output", "plain")
    card = Path("plain/README.md").read_text()
    assert "\n60 iterations of 8 crops" in card
    for word in ("Kept are", "started from", "`losses`", "`freeze`", "`keep`", "chosen"):
        assert word not in card
    config = make_settings()
    config["init"] = "checkpoint:/home/me/street.pt"
    config["train"] |= {
        "losses": {"cross_entropy": {"weight": 1.0}, "lovasz": {"weight": 0.5}},
        "class_weight": {"road": 0.5},
        "freeze": "backbone",
        "keep": "best",
        "patience": 2,
    }
    most = config["train"]["iterations"]
    path = write_checkpoint(place / "b/weights.pt", config)
    start = {"model": "lemore", "dataset": "ade20k", "kept": 210, "of": 214}
    write_record(path, chosen={"text": CHOSEN, "trained": 50}, start=start)
    values = evaluation(path, split="val", chosen_on="val")
    (place / "e.json").write_text(json.dumps(values))
    share("--checkpoint", path, "--evaluation", "e.json", "--output", "model")
    share("--checkpoint", "model", "--evaluation", "e.json", "--output", "again")
    for folder in ("model", "again"):
        card = Path(folder, "README.md").read_text()
        for part in (
            f"Kept are the {CHOSEN}.",
            "The weights were chosen on this split",
            f"50 of at most {most:,} iterations of 8 crops",
            "started from another model: lemore on ade20k, of which 210 of 214 tensors were kept.",
            '- `losses`: `{"cross_entropy": {"weight": 1.0}, "lovasz": {"weight": 0.5}}`',
            '- `class_weight`: `{"road": 0.5}`',
            '- `freeze`: `"backbone"`',
            "and those of the weights that the training started from",
        ):
            assert part in card, card
        assert "/home/me" not in card


# --- the licence of the weights


def test_the_licence_of_the_weights_travels_with_them(place, caplog, capsys):
    path = write_checkpoint(place / "weights.pt")
    share("--checkpoint", path, "--output", "model")
    values = json.loads(Path("model/config.json").read_text())
    assert values["licence"].endswith("personal and research use (CC BY-NC 4.0).")
    stated = 'CC BY-NC 4.0: "research" & personal use'
    share("--checkpoint", path, "--licence", stated, "--output", "stated")
    share("--checkpoint", "stated", "--output", "again")
    head = Path("again/README.md").read_text().split("---")[1]
    assert yaml.safe_load(head)["license_name"] == stated
    assert f"Of the weights: {stated}" in Path("again/README.md").read_text()
    Image.fromarray(PHOTO).save("x.png")
    capsys.readouterr()
    caplog.set_level("INFO")
    assert lemore.load("again").licence == stated and lemore.load(path).licence == ""
    assert "licence" not in caplog.text + "".join(capsys.readouterr())
    assert main(["predict", "--checkpoint", "again", "--output", "out", "x.png"]) == 0
    assert [r.getMessage() for r in caplog.records if "licence" in r.getMessage()] == [
        f"again: licence of the weights: {stated}"
    ]
    assert "licence" not in capsys.readouterr().out


def test_a_folder_without_a_licence_is_read_and_nothing_is_said(place, caplog):
    share("--checkpoint", write_checkpoint(place / "weights.pt"), "--output", "model")
    config = Path("model/config.json")
    values = json.loads(config.read_text())
    del values["licence"], values["training"]["start"], values["training"]["chosen"]
    config.write_text(json.dumps(values))
    Image.fromarray(PHOTO).save("x.png")
    caplog.set_level("INFO")
    assert main(["predict", "--checkpoint", "model", "--output", "out", "x.png"]) == 0
    assert "licence" not in caplog.text


def test_terms_that_others_have_set_are_not_guessed(place, caplog):
    """Of imported weights, of those that started from a whole model, and of unknown data."""
    for change in ({"run": "imported"}, {"init": "checkpoint:x"}, {"dataset": "ponds"}):
        caplog.clear()
        path = write_checkpoint(place / "weights.pt", make_settings() | change)
        share("--checkpoint", path, "--output", "model", "--overwrite")
        assert json.loads(Path("model/config.json").read_text())["licence"] == ""
        assert "the licence of the weights is not known; --licence states it" in caplog.text
        assert "Add the licence of the weights here" in Path("model/README.md").read_text()
    with pytest.raises(SystemExit):
        main(["share", "--checkpoint", "model", "--output", "again", "--licence", "a\nb"])


def test_an_evaluation_of_other_weights_is_refused(place, capsys):
    path = write_checkpoint(place / "weights.pt")
    values = evaluation(path, weights_sha256="0")
    (place / "e.json").write_text(json.dumps(values))
    share("--checkpoint", path, "--evaluation", "e.json", "--output", "model", code=2)
    assert "evaluates other weights" in capsys.readouterr().err
    assert not Path("model").exists()


def test_the_classes_of_a_dataset_of_ones_own(place, caplog):
    """Those of the prepared dataset; they travel with the folder."""
    config = make_settings(dataset="ponds", classes=3)
    path = write_checkpoint(place / "weights.pt", config)
    data = place / "data/ponds"
    data.mkdir(parents=True)
    (data / "digest.json").write_text(json.dumps({"classes": ["water", "reed", "bank"]}))
    (data / "colors.json").write_text(json.dumps([[0, 0, 200], [0, 160, 40], [120, 80, 30]]))
    share("--checkpoint", path, "--data-dir", "data", "--output", "model")
    assert "terms of the data are not known" in Path("model/README.md").read_text()
    model = lemore.load("model")
    assert model.classes == ("water", "reed", "bank") and model.colors[2] == (120, 80, 30)
    assert "holds no names of classes; ponds's are taken" in caplog.text
    assert lemore.load(path).classes[0] == "class 0" and "'ponds' is neither" in caplog.text


# --- the hub


def test_a_model_of_the_hub(place, monkeypatch):
    share("--checkpoint", write_checkpoint(place / "weights.pt"), "--output", "model")
    asked = {}

    def snapshot_download(repository, **options):
        asked.update(options, repository=repository)
        return str(place / "model")

    fake = types.ModuleType("huggingface_hub")
    fake.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    assert lemore.load("hf://someone/lemore-camvid@v1").classes[3] == "road"
    files = ["model.safetensors", "config.json"]
    assert asked == {
        "repository": "someone/lemore-camvid", "revision": "v1", "allow_patterns": files,
    }  # fmt: skip
    lemore.load("hf://someone/lemore-camvid")
    assert asked["revision"] is None
    for name in ("hf://lemore", "hf://../..", "hf://a/b/c"):
        with pytest.raises(ValueError, match="expected hf://owner/name"):
            lemore.load(name)


def test_without_the_hubs_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"pip install 'lemore\[hub\]'"):
        lemore.load("hf://someone/lemore")


# --- tensors of others


def test_counters_that_a_file_leaves_out_are_zero():
    with torch.device("meta"):
        target = torch.nn.BatchNorm2d(4).state_dict()
    state = {name: torch.ones(4) for name in target if name != "num_batches_tracked"}
    found = convert(state, KeyMap(()), target, "x")
    assert found["num_batches_tracked"].item() == 0 and not found["num_batches_tracked"].is_meta
