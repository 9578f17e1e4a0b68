"""Objects of COCO's JSON: read, audited and stored as pycocotools reads them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_folders import SIZE, Own, encode, photo
from pycocotools.coco import COCO

from lemore.cli import main
from lemore.config.dataset import DatasetConfig
from lemore.config.labels import load as load_labels
from lemore.config.read import load
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import list_categories
from lemore.runtime.files import read_json
from lemore.scenes.archives import pack_zip

ROOT = Path(__file__).parents[2]
FILES = {"images": "{split}/{name}.png", "masks": "annotations/{split}.json", "mask": "coco"}
CATEGORIES = {90: "reed", 4: "bank", 17: "water"}
HEIGHT, WIDTH = SIZE


def make_content(rng: np.random.Generator, images: int = 5) -> dict[str, Any]:
    """Boxes in photos of SIZE: crowds, one without area, one beyond the border; the last image has
    none. Ids are in no order."""
    annotations = []
    for number in range(4 * (images - 1)):
        x, y = rng.uniform(0, WIDTH - 9), rng.uniform(0, HEIGHT - 9)
        w, h = rng.uniform(1, 8, 2)
        entry = {
            "id": 900 - 7 * number,
            "image_id": 50 - number // 4,
            "category_id": int(rng.choice(list(CATEGORIES))),
            "iscrowd": int(number % 5 == 3),
            "area": round(w * h * 0.6, 3),
            "bbox": [round(value, 2) for value in (x, y, w, h)],
            "segmentation": [[x, y, x + w, y, x + w, y + h]],
        }
        annotations.append(entry)
    annotations[2]["bbox"] = [5.5, 7.25, 0, 4]
    annotations[6]["bbox"] = [WIDTH - 4, -3, 10, 12.5]
    return {
        "images": [
            {"id": 50 - i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH}
            for i in range(images)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
    }


def make_own(folder: Path, files: dict[str, Any] = FILES, **changes: Any) -> Own:
    facts = {"task": "detection", "num_classes": 3, "classes": [], "splits": {"train": None}}
    return Own(folder, dict(files), facts | changes)


def fill(own: Own, content: dict[str, Any], split: str = "train") -> Path:
    """Writes photos and JSON; returns the JSON's path."""
    for image in content["images"]:
        name = Path(image["file_name"]).stem
        own.put(own.files["images"].format(split=split, name=name), encode(photo(split + name)))
    file = own.files["masks"].format(split=split)
    own.put(file, json.dumps(content))
    return own.data / file


def test_all_comes_through_the_store(tmp_path, caplog, capsys):
    own = make_own(tmp_path)
    path = fill(own, make_content(np.random.default_rng(0)))
    outcome = own.prepare(caplog, capsys, "--workers", "2")
    store, tool = outcome.store(), COCO(str(path))
    assert store.classes == ["bank", "water", "reed"] and store.category_ids == [4, 17, 90]
    assert len(store) == 5 and len(set(map(tuple, store.read_colors()))) == 3
    for i in range(len(store)):
        found, number = store.read_label(i), store.read_image_id(i)
        assert tool.imgs[number]["file_name"] == f"{store.name(i)}.png"
        expected = tool.imgToAnns[number]
        kept = [store.category_ids[k] for k in found.classes]
        assert kept == [entry["category_id"] for entry in expected]
        assert found.crowd.tolist() == [entry["iscrowd"] == 1 for entry in expected]
        assert np.allclose(found.areas, [entry["area"] for entry in expected])
        for box, entry in zip(found.boxes, expected, strict=True):
            x, y, w, h = entry["bbox"]
            cut = [max(x, 0), max(y, 0), min(x + w, WIDTH), min(y + h, HEIGHT)]
            assert np.allclose(box, cut, atol=1e-5)
    audit = read_json(outcome.output / "audit.json")["splits"]["train"]
    assert audit["blank"] == 1
    assert audit["boxes"] == {"crowd": 3, "without area": 1, "beyond the photo": 1}
    per_class = [sum(e["category_id"] == k for e in tool.anns.values()) for k in (4, 17, 90)]
    assert audit["pixels"] == per_class
    assert outcome.warnings == [
        "own: split 'train': boxes without area, which no training takes: 1 (in 0)",
        "own: split 'train': boxes beyond the photo, which are cut to it: 1 (in 1)",
    ]
    page = tmp_path / "audit.html"
    assert main(["audit", "--data", str(outcome.output), "--output", str(page)]) == 0
    assert "photos without any box: 1" in page.read_text()


def test_the_file_says_which_photos_are_samples(tmp_path, caplog, capsys):
    """One folder of photos, a file a split, and one class."""
    files = FILES | {"images": "photos/{name}.png"}
    splits = {"train": None, "val": None}
    own = make_own(tmp_path, files, num_classes=1, splits=splits)
    own.put("photos/unnamed.png", encode(photo("x")))
    for split, shift in (("train", 0), ("val", 7)):
        content = make_content(np.random.default_rng(shift))
        for i, image in enumerate(content["images"]):
            image["file_name"] = f"photos\\{i + shift}.png"
        for entry in content["annotations"]:
            entry["category_id"] = 0
            del entry["iscrowd"], entry["area"]
        content["categories"] = [{"id": 0, "name": "reed"}]
        for i in range(5):
            own.put(f"photos/{i + shift}.png", encode(photo(str(i + shift))))
        own.put(f"annotations/{split}.json", json.dumps(content))
    outcome = own.prepare(caplog, capsys)
    assert outcome.names() == list("01234") and outcome.names("val") == ["10", "11", "7", "8", "9"]
    assert outcome.store().num_classes == 1
    objects = outcome.store().read_label(0)
    assert np.allclose(objects.areas, objects.sizes.prod(axis=1), rtol=1e-4)
    assert any("1 image files are used by no split" in text for text in outcome.warnings)


def test_one_file_for_splits_that_are_drawn(tmp_path, caplog, capsys):
    draw = {"seed": 1, "shares": {"train": 0.6, "val": 0.4}}
    files = {"images": "photos/{name}.png", "masks": "all.json", "mask": "coco", "draw": draw}
    own = make_own(tmp_path, files, splits={"train": None, "val": None})
    fill(own, make_content(np.random.default_rng(2)))
    outcome = own.prepare(caplog, capsys)
    assert sorted(outcome.names() + outcome.names("val")) == list("01234")


def edit(place: str, row: int = 0, **values: Any):
    """Changes an entry of one of the lists."""

    def harm(content: dict[str, Any]) -> None:
        content[place][row] |= values

    return harm


def box(*values: Any):
    return edit("annotations", bbox=list(values))


def twice(place: str, **values: Any):
    return lambda content: content[place].append(content[place][0] | values)


NAN = float("nan")
FAULTS = {
    "no JSON": (None, "train.json: not valid JSON"),
    "a list": (lambda c: [], "there is no list 'images' in it"),
    "no annotations": (lambda c: c.pop("annotations"), "there is no list 'annotations' in it"),
    "no bbox": (lambda c: c["annotations"][0].pop("bbox") and None, "annotation 900: bbox is None"),
    "three numbers": (box(1, 2, 3), "annotation 900: bbox is [1.0, 2.0, 3.0], expected four"),
    "text": (box(1, 2, 3, "4"), "annotation 900: bbox is [1, 2, 3, '4'], expected four numbers"),
    "NaN": (box(1, NAN, 3, 4), "annotation 900: bbox is [1.0, nan, 3.0, 4.0], expected four"),
    "too large": (box(1, 2, 3, 1e300), "annotation 900: bbox is [1.0, 2.0, 3.0, 1e+300]"),
    "not even a float": (box(1, 2, 3, 10**400), "annotation 900: bbox is [1, 2, 3, 1000"),
    "negative width": (box(5, 2, -3, 4), "annotation 900: bbox is [5.0, 2.0, -3.0, 4.0], of neg"),
    "crowd": (edit("annotations", iscrowd=2), "annotation 900: iscrowd is 2, expected 0 or 1"),
    "area": (edit("annotations", area=-1), "annotation 900: area is -1, expected a number"),
    "area NaN": (edit("annotations", area=NAN), "annotation 900: area is nan"),
    "unknown image": (edit("annotations", image_id=3), "annotation 900 has image_id 3, which is"),
    "unknown category": (
        edit("annotations", category_id=5),
        "annotation 900 has category_id 5, which is not there",
    ),
    "no category": (lambda c: c["annotations"][0].pop("category_id") and None, "'category_id'"),
    "image twice": (twice("images", file_name="5.png"), "image 50, '5.png', is there twice"),
    "name twice": (twice("images", id=3), "image 3, '0.png', is there twice"),
    "annotation twice": (twice("annotations"), "two annotations have the id 900"),
    "category twice": (twice("categories", name="x"), "two categories have the id 90"),
    "category's name twice": (twice("categories", id=5), "two categories are called 'reed'"),
    "file_name above": (
        edit("images", file_name="../0.png"),
        "file_name '../0.png' leads out of the photos' folder",
    ),
    "file_name from the root": (
        edit("images", file_name="/etc/0.png"),
        "file_name '/etc/0.png' leads out of the photos' folder",
    ),
    "no photo": (edit("images", file_name="9.png"), "image '9.png': annotation without an image"),
    "other size": (
        edit("images", width=33),
        "image '0.png': says that the image is (24, 33), the photo is (24, 32) (H, W)",
    ),
    "category's id is text": (
        edit("categories", id="90"),
        "the id of category 'reed' is '90', expected a whole number",
    ),
    "image's id is text": (
        edit("images", 4, id="a"),
        "the id of image '4.png' is 'a', expected a whole number",
    ),
    "category without a name": (edit("categories", name=None), "category 90 has no name"),
    "category's name of two lines": (
        edit("categories", name="re\ned"),
        r"the name of category 90 is 're\ned', expected one line of 1 to 100 characters",
    ),
    "category's name is long": (edit("categories", name="r" * 101), "expected one line of 1 to"),
    "annotation's id is a list": (
        edit("annotations", id=[900]),
        "the id of an annotation of image '0.png' is [900], expected a whole number",
    ),
    "image's id is too large": (
        edit("images", 4, id=10**30),
        f"the id of image '4.png' is {10**30}, expected a whole number of at most 64 bits",
    ),
    "fewer classes": (lambda c: c["categories"].append({"id": 1, "name": "x"}), "4 classes, num_"),
    "no box at all": (lambda c: c["annotations"].clear(), "no image of split 'train' has a box"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_malformed_file_is_refused_with_its_fault(tmp_path, caplog, capsys, name):
    harm, words = FAULTS[name]
    own, content = make_own(tmp_path), make_content(np.random.default_rng(0))
    path = fill(own, content)
    changed = harm(content) if harm else None
    path.write_text("{" if harm is None else json.dumps([] if changed == [] else content))
    outcome = own.prepare(caplog, capsys)
    assert outcome.code == 2 and words in outcome.error


def test_splits_with_other_categories_are_refused(tmp_path, caplog, capsys):
    own = make_own(tmp_path, splits={"train": None, "val": None})
    content = make_content(np.random.default_rng(0))
    fill(own, content)
    content["categories"][0]["name"] = "Reed"
    fill(own, content, "val")
    outcome = own.prepare(caplog, capsys)
    assert outcome.code == 2 and "val.json: its categories are not those of" in outcome.error


def test_a_damaged_photo_is_one_fault_that_may_be_left_out(tmp_path, caplog, capsys):
    own = make_own(tmp_path, quarantine_limit=1)
    content = make_content(np.random.default_rng(0))
    content["annotations"][0]["bbox"] = [1, 2]
    fill(own, content)
    assert own.prepare(caplog, capsys).names() == list("1234")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mask": "index"}, "for detection expected mask: coco"),
        ({"unlabelled": "ignore"}, "files.unlabelled is ignore"),
        ({"ignore": ["reed"]}, "for detection expected mask: coco without ignore"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path, capsys, changes, words):
    own = make_own(tmp_path, FILES | changes)
    own.describe()
    command = ["fetch", "--dataset-config", str(own.config), "--archives-dir", str(tmp_path)]
    assert main([*command, "--output", str(tmp_path / "f.json")]) == 2
    assert words in capsys.readouterr().err


TABLE = load_labels("coco")
ROWS = [{"id": k, "name": n} for k, n in zip(TABLE.raw_ids, TABLE.names, strict=True)]


def open_archive(path: Path, categories: list[dict[str, Any]]) -> Source:
    content = {"images": [], "annotations": [], "categories": categories}
    text = json.dumps(content).encode()
    files = [f"annotations/instances_{split}2017.json" for split in ("train", "val")]
    path.write_bytes(pack_zip([(file, text) for file in files]))
    return Source((path,))


def test_the_genuine_categories_are_those_of_the_label_table(tmp_path):
    assert len(ROWS) == 80 and TABLE.raw_ids[0] == 1 and TABLE.raw_ids[-1] == 90
    things = load_labels("coco_stuff_10k")
    assert [things.names[things.lut[number]] for number in TABLE.raw_ids] == list(TABLE.names)
    config = load(DatasetConfig, ROOT / "config/datasets/coco.yaml")
    found = list_categories(config, open_archive(tmp_path / "a.zip", ROWS[::-1]))
    assert list(found.items()) == [(row["id"], row["name"]) for row in ROWS]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (ROWS[1:], "1 is missing"),
        ([*ROWS, {"id": 91, "name": "hat"}], "91 hat"),
        ([ROWS[0] | {"name": "people"}, *ROWS[1:]], "1 people"),
    ],
)
def test_other_categories_than_the_tables_are_named(tmp_path, rows, words):
    config = load(DatasetConfig, ROOT / "config/datasets/coco.yaml")
    with pytest.raises(ValueError, match=f"'coco': {words}"):
        list_categories(config, open_archive(tmp_path / "a.zip", rows))


def write_large(path: Path, size: int) -> int:
    """Writes a file of `size` bytes as COCO's are, mostly polygons; returns its annotations."""
    rng, count, written = np.random.default_rng(0), 0, 0
    with open(path, "w") as file:
        images = [{"id": i, "file_name": f"{i}.png", "height": 480, "width": 640, "license": 3,
                   "coco_url": f"http://x/{i:012d}.jpg"} for i in range(20_000)]  # fmt: skip
        categories = [{"id": k, "name": str(k)} for k in range(80)]
        head = json.dumps({"images": images, "categories": categories})[:-1]
        written += file.write(f'{head}, "annotations": [')
        while written < size - 2000:
            points = rng.uniform(0, 480, 2 * int(rng.integers(4, 40))).round(2).tolist()
            row = {"segmentation": [points], "area": 702.1057499999998, "iscrowd": 0}
            row |= {"image_id": int(rng.integers(20_000)), "bbox": points[:4]}
            row |= {"category_id": int(rng.integers(80)), "id": 10**9 + count}
            written += file.write((", " if count else "") + json.dumps(row))
            count += 1
        file.write("]}")
    return count


@pytest.mark.slow
def test_a_file_of_100_megabytes_is_read_in_little_memory(tmp_path):
    path = tmp_path / "large.json"
    count = write_large(path, 100_000_000)
    assert path.stat().st_size > 99_000_000
    code = f"""
import resource
from pathlib import Path
from lemore.data.archives.members import list_members
from lemore.data.readers import coco_boxes
(member,) = list_members(Path({str(path)!r}))
file = coco_boxes.read_file(member)
print(sum(len(image.entries) for image in file.images.values()))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    read, peak = map(int, found.stdout.split())
    assert read == count and peak < 1.5 * (1 << 20)  # KiB
