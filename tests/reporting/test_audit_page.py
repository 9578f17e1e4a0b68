"""The audit page shows what audit.json holds; the contact sheet shows what training sees."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lemore.cli import main
from lemore.config.read import build, read_yaml
from lemore.config.recipe import Train
from lemore.data.loader import TrainBatches
from lemore.data.store import Store
from lemore.runtime.files import write_json
from lemore.stages.browse import make_crops
from lemore.stages.workers.finetune import make_transform

FAULT = "archives/x/<b>odd</b>.png: label values 9 are in no class and not ignored"


def split(count: int, expected: int | None, pixels: list[int]) -> dict:
    return {
        "count": count,
        "expected": expected,
        "modes": {"JPEG colour 8 bit, EXIF orientation 6": count},
        "mode_examples": {"JPEG colour 8 bit, EXIF orientation 6": "turned_7"},
        "raw_pixels": {"0": 5, "40": 95},
        "sizes": {"min": [10, 20], "median": [15.0, 25.0], "max": [30, 40], "common": []},
        "bytes": {},
        "ignored_share": 0.05,
        "pixels": pixels,
        "images": [int(n > 0) * count for n in pixels],
        "unseen": [name for name, n in zip(("road", "sky"), pixels, strict=True) if n == 0],
    }


AUDIT = {
    "dataset": "made_up",
    "title": "Made up & odd",
    "task": "segmentation",
    "stands_for": None,
    "scenes": False,
    "licence": "none",
    "num_classes": 2,
    "classes": ["road", "sky"],
    "splits": {"train": split(3, 4, [95, 0]), "val": split(2, None, [60, 35])},
    "class_frequencies": [1.0, 0.0],
    "quarantined": [{"split": "train", "name": "odd", "kind": "label values", "problem": FAULT}],
    "problems": ["split 'train' has 3 images, expected 5"],
    "errors": [],
    "warnings": ["split 'train': 1 of 2 classes do not occur in it: sky"],
    "unused": {"count": 1200, "files": ["old/<i>a</i>.png"]},
    "duplicates": [["train/a", "val/b"], ["train/c", "train/d"]],
    "annotation": "PNG",
    "origin": {"folder": "archives/x", "archives": []},
}


class Text(HTMLParser):
    """The text of a page, and the tags that were left open."""

    def __init__(self, page: str):
        super().__init__()
        self.parts, self.open = [], []
        self.feed(page)
        self.text = " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.parts.append(data)


@pytest.fixture
def page(tmp_path) -> Text:
    write_json(tmp_path / "audit.json", AUDIT)
    write_json(tmp_path / "colors.json", [[1, 2, 3], [4, 5, 6]])
    output = tmp_path / "page.html"
    assert main(["audit", "--data", str(tmp_path), "--output", str(output)]) == 0
    return Text(output.read_text())


@pytest.mark.parametrize(
    "words",
    [
        "split 'train' has 3 images, expected 5",
        "samples left out: 1",
        FAULT,
        "label values: 1",
        "photos that are in more than one split: 1",
        "train/a = val/b",
        "classes that never occur in training: 1",
        "JPEG colour 8 bit, EXIF orientation 6: 3 (as turned_7)",
        "5.00 %",
        "10 x 20, 15 x 25, 30 x 40",
        "split 'train': 1 of 2 classes do not occur in it: sky",
        "no list names: 1200",
        "old/<i>a</i>.png",
    ],
)
def test_the_page_says(page, words):
    assert words in page.text and page.open == []


def test_a_folder_without_audit_is_refused(tmp_path, capsys):
    assert main(["audit", "--data", str(tmp_path), "--output", str(tmp_path / "p.html")]) == 2
    assert "audit.json: no such file" in capsys.readouterr().err


def test_the_crops_shown_are_those_of_training(tiny):
    config, store = tiny.finetune_job(), Store(tiny.data, "train")
    output = tiny.folder / "crops.png"
    options = ["--config", str(config), "--number", "6", "--seed", "3", "--output", str(output)]
    assert main(["browse", "--data", str(tiny.data), *options]) == 0
    assert output.stat().st_size > 1000
    shown = make_crops(store, config, seed=3, number=6)
    recipe = build(Train, read_yaml(config)["train"], "config")
    batches = TrainBatches(store, make_transform(recipe), seed=3, batch_size=2, start=0, stop=3)
    crops = [
        (image, label) for b in batches for image, label in zip(b["image"], b["label"], strict=True)
    ]
    for (_, image, label), (expected, expected_label) in zip(shown, crops, strict=True):
        np.testing.assert_array_equal(image, expected.permute(1, 2, 0).numpy())
        np.testing.assert_array_equal(label, expected_label.numpy())


@pytest.mark.parametrize(("folder", "options"), [("data", []), ("images", ["--split", "val"])])
def test_sheets_of_samples(tiny, folder, options):
    output = tiny.folder / f"{folder}.png"
    data: Path = getattr(tiny, folder)
    assert (
        main(["browse", "--data", str(data), "--number", "3", "--output", str(output), *options])
        == 0
    )
    assert output.stat().st_size > 1000


def test_a_split_that_is_not_there(tiny, capsys):
    options = ["--split", "trian", "--output", str(tiny.folder / "x.png")]
    assert main(["browse", "--data", str(tiny.data), *options]) == 2
    assert "no split 'trian'; it has train, val" in capsys.readouterr().err


def test_a_dataset_read_from_archives(tmp_path):
    archive = {"file": "data.zip", "path": "a/data.zip", "bytes": 1234567, "sha256": "5f3a"}
    origin = {"dataset": "made_up", "archives": [archive], "sha256": ""}
    write_json(tmp_path / "audit.json", AUDIT | {"origin": origin, "scenes": True})
    write_json(tmp_path / "colors.json", [])
    output = tmp_path / "page.html"
    assert main(["audit", "--data", str(tmp_path), "--output", str(output)]) == 0
    page = Text(output.read_text())
    assert "data.zip (1,234,567 bytes, SHA-256 5f3a)" in page.text
    assert "not the real dataset" in page.text
