"""`lemore predict` writes evaluation's label maps for any number of images and videos, under
different names; and what it refuses."""

import codecs
import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from lemore.cli import main
from lemore.config import labels
from lemore.config.read import dump, plain
from lemore.data.store import Store
from lemore.evaluation import segmentation
from lemore.stages import evaluate
from lemore.trained.find import read_trained
from lemore.trained.load import load
from lemore.trained.model import Geometry, Model, load_rgb
from lemore.trained.predict.inputs import find_inputs, name_outputs
from lemore.trained.predict.video import VideoReader
from tests.small_coco import write_detector
from tests.trained_models import clip, make_photo, make_settings, save, write_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "weights.pt")


@pytest.fixture(scope="module")
def model(weights):
    return load(weights)


def predict(weights: Path, output: Path, *inputs: object, code: int = 0) -> None:
    options = ["--checkpoint", str(weights), "--output", str(output)]
    assert main(["predict", *options, *map(str, inputs)]) == code


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


# --- the maps of evaluation


def test_the_maps_are_those_of_evaluation(tiny):
    """For a training in the workflow's results, evaluated as its recipe says."""
    results = tiny.folder / "results/run"
    weights = results / "finetune/tiny/lemore_t/0/weights.pt"
    write_checkpoint(weights, make_settings(dataset="tiny", classes=4))
    test = {"split": "val", "img_scale": [140, 100], "align": None, "mode": "slide"}
    test |= {"stride": [32, 32], "upsample": "two_step", "ratios": [1.0], "flip": False}
    settings = {"run": "test", "dataset": "tiny", "stands_for": None, "scenes": False}
    settings |= {"classes": [], "images": ["val_0", "val_3"], "test": test}
    config = results / "config/evaluate/tiny/lemore_t.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(dump(settings))
    path = tiny.folder / "evaluated.json"
    tiny.lemore(
        *("evaluate", "--checkpoint", weights, "--dataset", "tiny", "--config", config),
        *("--data-dir", tiny.folder / "data", "--json", path, "--threads", 1),
    )
    store = Store(tiny.data, "val")
    photos = [save(tiny.folder / f"val_{i}.png", np.array(store.read_image(i))) for i in range(4)]
    options = ("--index", "--data-dir", tiny.folder / "data", "--threads", 1)
    predict(weights, tiny.folder / "out", *photos, *options)
    found = set()
    for name in ("val_0", "val_3"):
        theirs = read(path.with_suffix("") / f"{name}.png")
        assert (theirs == read(tiny.folder / f"out/index/{name}.png")).all()
        found |= set(np.unique(theirs))
    assert len(found) > 1
    assert "1,class 1,10,0,0" in (tiny.folder / "out/classes.csv").read_text()
    by_hand = evaluate.EvaluateOptions(
        str(weights), "tiny", tiny.folder, None, [], "none", 0, 1, path
    )
    assert plain(evaluate.load_job(by_hand, read_trained(weights)).test) == test


@pytest.mark.parametrize("name", ["lemore", "segformer_b0", "pem_stdc1"])
def test_the_plain_maps_are_those_of_evaluation(tiny, tmp_path, name):
    """As a checkpoint without results beside it is evaluated: whole, at its recipe's scale."""
    config = make_settings(name, dataset="tiny", classes=4)
    loaded = read_trained(write_checkpoint(tmp_path / "weights.pt", config))
    store, cpu = Store(tiny.data, "val"), torch.device("cpu")
    names = [store.name(i) for i in range(len(store))]
    theirs = segmentation.evaluate(loaded.network(), store, cpu, loaded.test, names).predictions
    model = load(tmp_path / "weights.pt")
    for i, image_name in enumerate(names):
        assert (model.predict(np.array(store.read_image(i))).label_map == theirs[image_name]).all()


def test_a_batch_changes_nothing_but_ties(model):
    images = [make_photo(seed) for seed in range(4)]
    alone = [model.predict(image).label_map for image in images]
    together = [p.label_map for p in model.predict_batch(images, Geometry())]
    same = np.mean([a == b for a, b in zip(alone, together, strict=True)])
    assert same > 0.999 and len(np.unique(alone[0])) > 1


def test_neighbours_of_one_size_go_together(weights, tmp_path, monkeypatch):
    sizes = [(80, 112), (80, 112), (112, 80), (80, 112), (160, 224)]
    paths = [save(tmp_path / f"{i}.png", make_photo(i, s)) for i, s in enumerate(sizes)]
    batches = []
    original = Model.predict_batch

    def noted(self, images, *rest):
        batches.append(len(images))
        return original(self, images, *rest)

    monkeypatch.setattr(Model, "predict_batch", noted)
    predict(weights, tmp_path / "out", *paths, "--batch-size", 3)
    assert batches == [2, 1, 2]  # the last two are fitted into the same size
    assert len(files(tmp_path / "out/overlay")) == 5


# --- sizes and tiles


def test_any_size_and_any_geometry(model):
    for size in ((1, 1), (37, 53), (300, 40), (31, 500)):
        image = make_photo(1, size)
        for geometry in ({}, {"size": (200, 100)}, {"size": "original", "tile": 64}):
            assert model.predict(image, **geometry).label_map.shape == size
    with pytest.raises(ValueError, match="too long and narrow"):
        model.predict(np.zeros((1, 3000, 3), np.uint8))


def test_one_tile_is_the_whole(model):
    image = make_photo(0, (128, 192))
    whole = model.predict(image, size="original").label_map
    tiled = model.predict(image, size="original", tile=(128, 192)).label_map
    assert (whole == tiled).all() and len(np.unique(whole)) > 1


def test_large_ones_go_in_tiles_by_themselves(model):
    geometry = Geometry("original")
    assert model.choose_tile((1024, 2048), geometry) is None
    assert model.choose_tile((1025, 2048), geometry) == (64, 64)
    assert model.choose_tile((1025, 2048), Geometry()) is None  # as it was evaluated


def test_a_tiled_map_is_near_the_whole(model):
    image = make_photo(5, (384, 500))
    whole = model.predict(image, size="original").label_map
    tiled = model.predict(image, size="original", tile=192).label_map
    assert (whole == tiled).mean() > 0.9 and len(np.unique(tiled)) > 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tile", "32"], "32 x 32 with an overlap of 8 x 8 makes no progress, as both count in"),
        (["--tile", "64", "--overlap", "40"], "an overlap of 40 x 40 makes no progress"),
        (["--tile", "64x96", "--overlap", "64"], "64 x 96 with an overlap of 64 x 64"),
        (["--size", "original", "--overlap", "64"], "64 x 64 with an overlap of 64 x 64"),
    ],
)
def test_tiles_that_make_no_progress_are_refused_first(weights, tmp_path, capsys, options, words):
    path = save(tmp_path / "x.png", make_photo(1))
    predict(weights, tmp_path / "out", path, *options, code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line and not (tmp_path / "out").exists()


def test_a_model_tested_in_squares_takes_no_other_size(weights, tmp_path, capsys):
    model = load(weights)
    model.test = replace(model.test, mode="square")
    image = make_photo(1, (100, 190))
    expected = segmentation.label_image(
        model.network, image, torch.device("cpu"), model.test, model.crop_size
    )
    assert (model.predict(image).label_map == expected).all()
    for change in ({"size": (200, 100)}, {"size": "original"}, {"tile": 64}):
        with pytest.raises(ValueError, match="mode square, which brings every image to 64 x 64"):
            model.predict(image, **change)


# --- inputs


def test_names(tmp_path):
    def names(*paths: str, arguments: tuple[str, ...] = ()) -> list[str]:
        for path in paths:
            save(tmp_path / path, make_photo(0, (4, 4)))
        given = [str(tmp_path / name) for name in arguments or paths]
        found, problems = find_inputs(given, tmp_path / "out")
        assert not problems
        return name_outputs(found)

    assert names("a/x.jpg") == ["x"]
    assert names("a/x.jpg", "b/y.jpg") == ["x", "y"]
    assert names("a/x.jpg", "b/x.jpg") == ["a/x", "b/x"]
    assert names("a/x.jpg", "a/x.png") == ["x.jpg", "x.png"]
    assert names("a/x.jpg", "a/x.png", "b/x.jpg") == ["a/x.jpg", "a/x.png", "b/x.jpg"]
    assert names("c/1/x.jpg", "c/2/x.jpg", arguments=("c",)) == ["1/x", "2/x"]
    assert names("d/x.jpg", "d/x/0.jpg", arguments=("d",)) == ["x.jpg", "x/0.jpg"]
    assert names("a/x.jpg", "a/x.jpg", arguments=("a/x.jpg", "a/../a/x.jpg")) == ["x"]
    assert names(arguments=("a", "b")) == ["a/x.jpg", "a/x.png", "b/x.jpg", "b/y.jpg"]


def test_folders_and_patterns(tmp_path):
    left = (".hidden.png", "._b.png", "@eaDir/c.png", "__MACOSX/d.png", "Thumbs.db", "notes.txt")
    for name in ("b.JPG", "sub/a.png", "out/overlay/b.png", *left):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    found, problems = find_inputs([str(tmp_path)], tmp_path / "out")
    assert [item.path.name for item in found] == ["b.JPG", "a.png"] and not problems
    found, _ = find_inputs([f"{tmp_path}/**/*.png", f"{tmp_path}/b.JPG"], tmp_path / "out")
    assert [item.path.name for item in found] == ["a.png", "b.JPG"]
    _, problems = find_inputs(
        [f"{tmp_path}/*.gif", f"{tmp_path}/none", "x" * 5000], tmp_path / "out"
    )
    assert [text for _, text in problems] == [
        "no file matches", "no such file or folder", "File name too long",
    ]  # fmt: skip


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_a_list_on_standard_input(weights, tmp_path, monkeypatch, end):
    paths = [save(tmp_path / f"im {i}.png", make_photo(i)) for i in range(3)]
    mark = codecs.BOM_UTF8 if end == b"\r\n" else b""
    listed = mark + b"".join(os.fsencode(path) + end for path in paths[1:])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed)))
    predict(weights, tmp_path / "out", "-", paths[0])
    assert files(tmp_path / "out/overlay") == ["im 0.jpg", "im 1.jpg", "im 2.jpg"]


def test_an_empty_list_is_refused(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    predict(weights, tmp_path / "out", "-", code=2)
    assert "standard input is empty" in capsys.readouterr().err


def test_a_bad_file_in_the_middle(weights, tmp_path, capsys):
    good = [save(tmp_path / f"{i}.png", make_photo(i)) for i in range(2)]
    (tmp_path / "bad\n.jpg").write_text("not an image")
    predict(weights, tmp_path / "out", good[0], tmp_path / "bad\n.jpg", "nowhere", good[1], code=1)
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if "error" in line]
    assert lines[0] == "lemore predict: error: nowhere: no such file or folder; check the path"
    assert "bad .jpg: is not a whole JPEG" in lines[1] and "leave it out" in lines[1]
    assert len(lines) == 2 and "2 of 4 predicted" in captured.out
    assert files(tmp_path / "out/overlay") == ["0.jpg", "1.jpg"]


def test_an_exif_orientation_is_honoured(model, tmp_path):
    upright = make_photo(2, (60, 90))
    exif = Image.Exif()
    exif[0x112] = 6  # shown after a quarter turn clockwise
    turned = Image.fromarray(np.rot90(upright).copy())
    for suffix in ("png", "tiff", "webp"):
        turned.save(tmp_path / f"x.{suffix}", exif=exif, lossless=True)
        found = model.predict(tmp_path / f"x.{suffix}")
        assert (found.image == upright).all()
        assert (found.label_map == model.predict(upright).label_map).all()
    assert (model.predict(Image.open(tmp_path / "x.png")).image == upright).all()


def test_alpha_is_dropped_and_16_bits_become_8(tmp_path):
    """The same from every format, and from PIL images."""
    color = make_photo(3, (20, 30))
    alpha = np.linspace(0, 255, 20 * 30).astype(np.uint8).reshape(20, 30, 1)
    for suffix in ("png", "tiff", "webp"):
        image = Image.fromarray(np.concatenate([color, alpha], axis=2))
        image.save(tmp_path / f"x.{suffix}", lossless=True, exact=True)
        assert (load_rgb(tmp_path / f"x.{suffix}") == color).all(), suffix
        assert (load_rgb(Image.open(tmp_path / f"x.{suffix}")) == color).all(), suffix
    gray = np.linspace(0, 65535, 20 * 30).astype(np.uint16).reshape(20, 30)
    expected = np.repeat((gray >> 8).astype(np.uint8)[..., None], 3, axis=2)
    for suffix in ("png", "tiff"):
        Image.fromarray(gray).save(tmp_path / f"g.{suffix}")
        assert (load_rgb(tmp_path / f"g.{suffix}") == expected).all(), suffix
        assert (load_rgb(Image.open(tmp_path / f"g.{suffix}")) == expected).all(), suffix
    with pytest.raises(ValueError, match="mode F, expected 8 or 16 bits"):
        load_rgb(Image.fromarray(gray.astype(np.float32)))
    cut = (tmp_path / "x.tiff").read_bytes()
    (tmp_path / "cut.tiff").write_bytes(cut[:200] + cut[-300:])
    with pytest.raises(ValueError, match=r"cut\.tiff: "):
        load_rgb(tmp_path / "cut.tiff")


# --- outputs


def test_outputs(model, weights, tmp_path, capsys):
    image = make_photo(1, (50, 70))
    path = save(tmp_path / "x.png", image)
    options = ("--index", "--color", "--overlay", "--shares", "csv", "--json")
    predict(weights, tmp_path / "out", path, *options)
    expected = model.predict(image)
    label = read(tmp_path / "out/index/x.png")
    assert (label == expected.label_map).all()
    colors = np.array(model.colors, np.uint8)
    assert (read(tmp_path / "out/color/x.png") == colors[label]).all()
    drawn = read(tmp_path / "out/overlay/x.jpg").astype(int)
    assert np.abs(drawn - np.asarray(expected.overlay())).mean() < 6
    row = next(csv.DictReader((tmp_path / "out/shares.csv").open()))
    assert float(row["sky"]) == pytest.approx((label == 0).mean()) and row["file"] == str(path)
    legend = list(csv.DictReader((tmp_path / "out/classes.csv").open()))
    assert [r["name"] for r in legend] == list(model.classes) and legend[3]["name"] == "road"
    line = json.loads(capsys.readouterr().out)
    assert line["size"] == [50, 70] and sum(line["shares"].values()) == pytest.approx(1)
    assert line["outputs"]["index"] == str(tmp_path / "out/index/x.png")


def test_shares_add_up_to_one(model):
    found = model.predict(make_photo(1, (41, 67)))
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-12)
    for k, name in enumerate(found.classes):
        assert found.shares[name] == pytest.approx((found.label_map == k).mean(), abs=1e-12)


def test_shares_as_json(weights, tmp_path):
    paths = [save(tmp_path / f"{i}.png", make_photo(i)) for i in range(2)]
    predict(weights, tmp_path / "out", *paths, "--shares", "json")
    rows = json.loads((tmp_path / "out/shares.json").read_text())
    assert [row["file"] for row in rows] == list(map(str, paths))
    assert files(tmp_path / "out") == ["classes.csv", "shares.json"]


def test_what_exists_is_left_alone(weights, tmp_path, capsys):
    path = save(tmp_path / "x.png", make_photo(1))
    predict(weights, tmp_path / "out", path)
    before = (tmp_path / "out/overlay/x.jpg").read_bytes()
    (tmp_path / "out/overlay/x.jpg").write_bytes(b"mine")
    predict(weights, tmp_path / "out", path, code=2)
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "out/overlay/x.jpg").read_bytes() == b"mine"
    predict(weights, tmp_path / "out", save(tmp_path / "y.png", make_photo(2)))
    predict(weights, tmp_path / "out", path, "--overwrite")
    assert (tmp_path / "out/overlay/x.jpg").read_bytes() == before


def test_inputs_are_never_overwritten(weights, tmp_path, capsys):
    path = save(tmp_path / "overlay/x.jpg", make_photo(1))
    before = path.read_bytes()
    predict(weights, tmp_path, path, "--overwrite", code=2)
    assert "is one of the inputs" in capsys.readouterr().err and path.read_bytes() == before


def test_the_classes_of_an_unknown_dataset_are_numbered(tmp_path, caplog):
    config = make_settings(dataset="ponds", classes=3)
    model = load(write_checkpoint(tmp_path / "weights.pt", config), data_dir=tmp_path)
    assert model.classes == ("class 0", "class 1", "class 2")
    assert "'ponds' is neither prepared" in caplog.text


# --- videos


def test_a_video_there_and_back(model, weights, tmp_path):
    path = clip(tmp_path / "clip.mp4")
    frames = list(VideoReader(path))
    assert len(frames) == 7
    kept = [frame.copy() for frame in frames]
    assert np.abs(kept[3].astype(int) - np.roll(make_photo(1), 15, axis=1)).mean() < 8
    predict(weights, tmp_path / "out", path, "--overlay", "--index", "--shares", "csv")
    maps = sorted((tmp_path / "out/index/clip").iterdir())
    assert [p.name for p in maps] == [f"{i:06d}.png" for i in range(7)]
    for frame, file in zip(kept, maps, strict=True):
        assert (read(file) == model.predict(frame).label_map).all()
    reader = VideoReader(tmp_path / "out/overlay/clip.mp4")
    assert reader.rate == 12.5
    drawn = list(reader)
    assert len(drawn) == 7
    expected = np.asarray(model.predict(kept[4]).overlay()).astype(int)
    assert np.abs(drawn[4].astype(int) - expected).mean() < 12
    rows = list(csv.DictReader((tmp_path / "out/shares.csv").open()))
    assert [row["frame"] for row in rows] == list("0123456")


def test_a_shorter_video_leaves_no_frames_of_the_longer_one(weights, tmp_path):
    predict(weights, tmp_path / "out", clip(tmp_path / "clip.mp4", 5), "--index")
    predict(weights, tmp_path / "out", clip(tmp_path / "clip.mp4", 2), "--index", "--overwrite")
    assert files(tmp_path / "out/index") == ["clip/000000.png", "clip/000001.png"]


def test_a_cut_video_is_predicted_to_its_end_and_reported(weights, tmp_path, capsys):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (112, 80)
    )
    for i in range(20):
        writer.write(make_photo(i))
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    predict(weights, tmp_path / "out", path, "--index", code=1)
    error = capsys.readouterr().err
    assert re.search(r"ends after \d+ of 20 frames", error), error
    assert 5 < len(files(tmp_path / "out/index/clip")) < 20


# --- memory and documentation


@pytest.mark.slow
def test_memory_is_bounded(weights, tmp_path):
    """48 million pixels in tiles and as evaluated, and 300 frames: below 2 GiB."""
    image = cv2.resize(make_photo(1), (8000, 6000))
    photo = save(tmp_path / "large.jpg", image)
    video = clip(tmp_path / "long.mp4", 300)
    for inputs in ([photo, "--size", "original", "--tile", 512], [photo], [video]):
        command = ["predict", "--checkpoint", weights, "--output", tmp_path / "out", "--overwrite"]
        code = (
            "import resource, sys; from lemore.cli import main; code = main(sys.argv[1:]);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, [*command, *inputs])],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout.split()[-1]) < 2 << 20, done.stdout  # KiB


def blocks(kind: str) -> list[str]:
    text = (ROOT / "docs/predict.md").read_text()
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def test_the_documentation_does_what_it_says(tmp_path, monkeypatch):
    results = tmp_path / "results"
    write_checkpoint(results / "camvid/finetune/camvid/lemore/0/weights.pt")
    detector = results / "scenes/finetune/coco_scenes/retinanet_lemore/0/weights.pt"
    write_detector(detector, "coco_scenes", [*labels.load("coco").names], "retinanet_lemore")
    save(tmp_path / "street.jpg", make_photo(1))
    save(tmp_path / "photos/sub/a b.jpg", make_photo(2))
    save(tmp_path / "photos/b.jpg", make_photo(3))
    clip(tmp_path / "drive.mp4")
    data = tmp_path / "resources/datasets/camvid"
    camvid_store(data)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/m.db")
    monkeypatch.chdir(tmp_path)
    for command in "".join(blocks("bash")).splitlines():
        before, _, ours = f" {command}".rpartition(" lemore ")
        if listing := before.strip(" |"):
            listed = subprocess.run(["bash", "-c", listing], capture_output=True, check=True)
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed.stdout)))
        assert main(shlex.split(ours)) == 0, command
    assert files(tmp_path / "overlays/overlay") == ["b.jpg", "street.jpg", "sub/a b.jpg"]
    assert files(tmp_path / "clip") == ["classes.csv", "overlay/drive.mp4"]
    assert files(tmp_path / "again/overlay") == ["a b.jpg", "b.jpg"]
    assert files(tmp_path / "my-lemore") == ["README.md", "config.json", "model.safetensors"]
    names: dict = {}
    for code in blocks("python"):
        exec(code, names)
    rows, listed = (json.loads(Path(p).read_text()) for p in ("boxes.json", "found/boxes/b.json"))
    assert len(rows) == len(names["found"]) and isinstance(listed, list)
    assert names["logits"].shape == (1, 11, 45, 60)
    assert (read(tmp_path / "ids.png") == names["result"].label_map).all()


def camvid_store(folder: Path) -> None:
    """A prepared dataset of one image with CamVid's classes."""
    from lemore.data.photo import PIXELS
    from lemore.data.store import PackWriter, pack_label
    from lemore.runtime.files import write_json

    folder.mkdir(parents=True)
    writer = PackWriter(folder, "val", "segmentation")
    image = make_photo(9)
    label = (image[..., 0] // 24).astype(np.uint8)
    writer.add("x", label.shape, image.tobytes(), PIXELS, pack_label(label))
    writer.close()
    table = labels.load("camvid")
    digest = {
        "dataset": "camvid", "task": "segmentation", "num_classes": 11,
        "classes": list(table.names), "class_frequencies": [1 / 11] * 11,
        "splits": {"val": {"count": 1, "sha256": ""}}, "source": "archives", "sha256": "0" * 64,
    }  # fmt: skip
    write_json(folder / "digest.json", digest)
    write_json(folder / "colors.json", table.colors)
