"""A trained detector draws and lists what its evaluation finds, for photos and videos."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import lemore
from lemore.cli import main
from lemore.config import labels
from lemore.data.store import Store
from lemore.models.detection_heads.retinanet import Detections
from lemore.reporting.pages import model_card
from lemore.runtime.files import read_json
from lemore.stages.share import describe_model
from lemore.trained.boxes import BoxPrediction
from lemore.trained.classes import find_classes
from lemore.trained.find import read_trained
from tests.small_coco import IDS, NAMES, SIZE, make_coco_store, write_detector
from tests.trained_models import clip, save, write_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("detector")
    store = Store(make_coco_store(made / "data/dots"), "val")
    for i in range(len(store)):  # named by their ids
        save(made / f"photos/{store.read_image_id(i)}.png", np.array(store.read_image(i)))
    write_detector(made / "weights.pt", "dots", NAMES)
    return made


def predict(folder: Path, output: str, *options: object, code: int = 0) -> Path:
    command = ["predict", "--checkpoint", folder / "weights.pt", "--output", folder / output]
    command += ["--data-dir", folder / "data", "--threads", 1, *options]
    assert main([*map(str, command)]) == code
    return folder / output


def test_the_boxes_are_those_of_evaluation(folder):
    """In COCO's form, with the dataset's own category ids, and the photos' numbers."""
    path = folder / "evaluated.json"
    command = ["evaluate", "--checkpoint", folder / "weights.pt", "--dataset", "dots"]
    command += ["--data-dir", folder / "data", "--json", path, "--ray", "none", "--threads", 1]
    assert main([*map(str, command)]) == 0
    theirs = read_json(path.with_suffix("") / "boxes.json")
    out = predict(folder, "all", folder / "photos", "--score", "0.05")
    ours = [row for number in (1000, 1001, 1002) for row in read_json(out / f"boxes/{number}.json")]
    assert ours == theirs and len({row["category_id"] for row in ours}) > 1
    assert {row["category_id"] for row in ours} <= set(IDS)
    assert "1,square,200,1,0,7" in (out / "classes.csv").read_text()
    for number in (1000, 1001, 1002):
        assert Image.open(out / f"overlay/{number}.jpg").size == SIZE[::-1]


def test_the_score_decides_what_is_drawn_and_listed(folder, capsys):
    model = lemore.load(folder / "weights.pt", data_dir=folder / "data")
    found = model.predict(folder / "photos/1000.png")
    assert len(found) and (found.scores >= 0.3).all() and set(found.names) <= set(NAMES)
    assert (np.diff(found.scores) <= 0).all()
    model.score = float(found.scores[0])
    assert len(model.predict(folder / "photos/1000.png")) == 1
    capsys.readouterr()
    predict(folder, "few", folder / "photos/1000.png", "--score", model.score, "--json")
    line = json.loads(capsys.readouterr().out)
    (row,) = line["boxes"]
    assert row["class"] == found.names[0] and row["score"] == pytest.approx(model.score)
    assert line["size"] == list(SIZE) and set(line["outputs"]) == {"overlay", "boxes"}
    predict(folder, "none", folder / "photos/1000.png", "--score", "1")
    assert read_json(folder / "none/boxes/1000.json") == []
    unseen = np.asarray(Image.open(folder / "photos/1000.png")).astype(int)
    drawn = np.asarray(Image.open(folder / "none/overlay/1000.jpg")).astype(int)
    assert abs(unseen - drawn).mean() < 10  # but for JPEG's loss


def test_a_video_has_boxes_for_every_frame(folder):
    clip(folder / "film.mp4", 3)
    out = predict(folder, "film", folder / "film.mp4")
    frames = sorted((out / "boxes/film").iterdir())
    assert [path.name for path in frames] == ["000000.json", "000001.json", "000002.json"]
    assert {row["image_id"] for path in frames[1:2] for row in read_json(path)} <= {1}
    assert (out / "overlay/film.mp4").stat().st_size


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--index"], "--index: retinanet_shufflenet_v2 on dots detects objects; leave it out"),
        (["--shares", "csv"], "--shares: retinanet_shufflenet_v2 on dots detects objects"),
        (["--tile", "64"], "tile, overlap: retinanet_shufflenet_v2 on dots detects objects"),
    ],
)
def test_what_detection_does_not_have_is_refused(folder, capsys, option, message):
    predict(folder, "refused", folder / "photos", *option, code=2)
    assert message in capsys.readouterr().err and not (folder / "refused").exists()


def test_what_segmentation_does_not_have_is_refused(folder, capsys):
    segments = write_checkpoint(folder / "segments/weights.pt")
    command = ["predict", "--checkpoint", str(segments), "--output", str(folder / "refused")]
    assert main([*command, str(folder / "photos"), "--score", "0.5"]) == 2
    assert "--score: lemore_t on camvid segments; leave it out" in capsys.readouterr().err


def test_a_box_is_drawn_in_the_colour_of_its_class():
    image = np.full((100, 160, 3), 128, np.uint8)
    boxes = np.array([[40, 50, 120, 90], [0, 0, 159, 99]], np.float32)
    place = (boxes, np.array([1, 0]), np.array([0.9, 0.5], np.float32))
    found = BoxPrediction(
        image, *place, ("car", "дом"), ((0, 0, 255), (255, 0, 0)), (1, 2)
    )  # the second box's text begins at the border
    pixels = np.asarray(found.overlay())
    for y, x in ((90, 80), (70, 40), (70, 120)):
        assert pixels[y, x].tolist() == [255, 0, 0]
    assert pixels[99, 80].tolist() == [0, 0, 255] and (pixels[70, 80] == 128).all()
    label = pixels[40:50, 40:60].reshape(-1, 3).tolist()
    assert [255, 0, 0] in label and [255, 255, 255] in label
    assert repr(found) == "BoxPrediction(100 x 160: 1 дом, 1 car)" and "img" in found._repr_html_()
    assert found.rows("photo")[0] == {
        "image_id": "photo", "category_id": 2, "bbox": [40, 50, 80, 40],
        "score": pytest.approx(0.9),
    }  # fmt: skip


def test_a_detector_is_shared(folder, monkeypatch):
    """The folder predicts the same, with the dataset's ids, and the card has its numbers."""
    monkeypatch.chdir(folder)
    scores = {
        "stage": "evaluate", "dataset": "dots", "split": "val", "images": 3, "scenes": False,
        "weights_sha256": read_trained("weights.pt").record.weights_sha256, "classes": NAMES,
        "test_mode": "whole", "test_size": [64, 48], "ap": 0.293, "ap50": 0.5, "ap75": 0.25,
        "ap_s": None, "ap_m": 0.125, "ap_l": 1.0,
    }  # fmt: skip
    Path("scores.json").write_text(json.dumps(scores))
    command = ["share", "--checkpoint", "weights.pt", "--evaluation", "scores.json"]
    assert main([*command, "--output", "shared", "--data-dir", "data"]) == 0
    card = Path("shared/README.md").read_text()
    for part in (
        "pipeline_tag: object-detection",
        "A model for object detection: 3 classes,",
        "detection head `retinanet`, of lemore",
        "On 3 images of dots, split `val`, average precisions by COCO's tool, in test mode",
        "| 29.30 | 50.00 | 25.00 | - | 12.50 | 100.00 |",
        "| 2 | star | 90 |",
    ):
        assert part in card, card
    assert "mIoU" not in card and "segmentation" not in card
    other_order = {"classes": NAMES[::-1], "ap_by_class": [0.25, None, 0.5]}
    Path("scores.json").write_text(json.dumps(scores | other_order))
    assert main([*command, "--output", "shared", "--data-dir", "data", "--overwrite"]) == 0
    card = Path("shared/README.md").read_text()
    rows = [line for line in card.splitlines() if line.startswith(("| 0 ", "| 1 ", "| 2 "))]
    assert [row.split(" | ", 1)[1] for row in rows] == [
        f"{name} | {number} | {ap} |"
        for name, number, ap in zip(NAMES, IDS, ("50.00", "-", "25.00"), strict=True)
    ]
    predict(folder, "ours", "photos/1000.png")
    command = ["predict", "--checkpoint", "shared", "--output", "theirs", "--threads", "1"]
    assert main([*command, "photos"]) == 0
    theirs, ours = (Path(name, "boxes/1000.json").read_text() for name in ("theirs", "ours"))
    assert theirs == ours and json.loads(ours)


def test_the_card_says_how_the_rate_falls(folder):
    """As it was trained, an untrained detector has no such line."""
    found = read_trained(folder / "weights.pt")
    train = replace(found.job.train, schedule="steps", steps=(58640, 80630))
    stepped = replace(
        found,
        job=replace(found.job, train=train),
        record=replace(found.record, command="lemore finetune", iterations=87960),
    )
    card = model_card.render(describe_model(stepped) | {"category_ids": IDS}, NAMES, None)
    assert "then a rate that falls tenfold at iterations 58640, 80630." in card
    assert "polynomial" not in card and "87,960 iterations of 2 photos, fitted into 64 x 48" in card


def test_category_ids_are_those_of_the_weights_or_the_dataset(folder, caplog):
    """Else of its prepared data, else of its label table, else they count from 1."""
    trained = read_trained(folder / "weights.pt")
    assert find_classes(trained, folder / "data").category_ids == tuple(IDS)
    assert find_classes(trained, folder).category_ids == (1, 2, 3)
    assert "the category ids of its classes are not known" in caplog.text
    assert trained.classes is not None
    own = replace(trained, classes=replace(trained.classes, category_ids=(5, 6, 9)))
    assert find_classes(own, folder / "data").category_ids == (5, 6, 9)
    table = labels.load("coco")
    write_detector(folder / "coco.pt", "coco", list(table.names))
    ids = find_classes(read_trained(folder / "coco.pt"), folder).category_ids
    assert ids == tuple(table.raw_ids) and ids[-1] == 90
    with pytest.raises(ValueError, match="category_ids: expected one for each class"):
        replace(trained.classes, category_ids=(1, 1, 2))


def export(folder: Path, *options: object, code: int = 0) -> Path:
    pytest.importorskip("onnxscript")
    command = ["export", "--checkpoint", folder / "weights.pt", "--format", "onnx", "--output"]
    command += [folder / "detector.onnx", "--data-dir", folder / "data", "--seconds", 0.1, *options]
    assert main([*map(str, command)]) == code
    return folder / "detector.onnx"


def test_an_exported_detector_ends_in_the_boxes_of_pytorch(folder, capsys):
    """ONNX Runtime finds what torchvision's own selection finds, which the network ends in."""
    photos = ("--calibration", folder / "photos", "--json", folder / "export.json")
    path = export(folder, "--with-normalization", *photos)
    record = read_json(folder / "export.json")
    assert record["images"] == 3 and record["boxes"] > 30 and record["equal_boxes"] > 0.99
    assert record["largest_difference"] < 0.01 and record["category_ids"] == IDS
    assert "ends in boxes, after decoding and non-maximum suppression" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(path)
    names = [one.name for one in session.get_outputs()]
    assert names == ["boxes", "classes", "scores"]
    blank = np.zeros((1, 3, 128, 128), np.float32)
    boxes, classes, scores = session.run(None, {"image": blank})
    assert boxes.shape == (len(scores), 4) and classes.dtype == np.int64 and len(scores) <= 100
    with pytest.raises(ValueError, match="a detector's file, which other programs run"):
        lemore.load(path)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--half"], "--half: a detector's file is in float32, takes one image and ends in boxes"),
        (["--labels", "image"], "--labels: a detector's file"),
        (["--size", "130", "200"], "expected multiples of 128 such as 256 x 256"),
    ],
)
def test_what_a_detectors_file_does_not_have_is_refused(folder, capsys, option, message):
    export(folder, *option, code=2)
    assert message in capsys.readouterr().err


def test_the_selection_of_an_exported_graph_is_torchvisions(folder):
    """With more boxes than torchvision offsets at once, and with none."""
    network = read_trained(folder / "weights.pt").unfolded().eval()
    head = network.detection_head
    generator = torch.Generator().manual_seed(1)
    size = (256, 384)
    with torch.inference_mode():
        outputs = network(torch.randn(1, 3, *size, generator=generator))
        for shift in (0.0, 1.0, -50.0):
            moved = outputs._replace(logits=outputs.logits + shift)
            (expected,) = head.detect(moved, size, [size], [size])
            found = head.select(moved, size)
            assert list_rows(found) == list_rows(expected)
            torch.testing.assert_close(found.scores, expected.scores)
            assert len(found.scores) == (0 if shift == -50.0 else 100)


def list_rows(found: Detections) -> list:
    """Sorts, since boxes with the same score may come in any order."""
    boxes = found.boxes.double().round(decimals=2).tolist()
    return sorted(zip(found.classes.tolist(), boxes, strict=True))
