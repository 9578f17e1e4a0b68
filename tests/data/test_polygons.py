"""Own datasets labelled with polygons: COCO JSON, YOLO text, LabelMe JSON."""

import base64
import json
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from lemore.cli import main
from lemore.config.dataset import DatasetConfig
from lemore.config.labels import load
from lemore.config.own_files import ClassConfig, Files
from lemore.config.read import build
from lemore.data.archives.members import Member
from lemore.data.readers import coco, polygons, rle
from lemore.data.store import Store

COCO = pytest.importorskip("pycocotools.coco").COCO
SIZE = (40, 56)  # H, W
NAMES = ["water", "reed", "bank"]
CLASSES = tuple(ClassConfig(name) for name in NAMES)
RECORDED = json.loads((Path(__file__).parent / "polygons/recorded.json").read_text())
TRIANGLE = [5.0, 5.0, 30.0, 6.0, 12.0, 33.0]
BASE = {
    "title": "Ponds",
    "task": "segmentation",
    "num_classes": 3,
    "licence": "own photographs",
    "splits": {"train": None},
    "classes": [{"name": name} for name in NAMES],
}
PATTERNS = {
    "coco": {"images": "{split}/{name}.png", "masks": "annotations/{split}.json"},
    "yolo": {"images": "images/{split}/{name}.png", "masks": "labels/{split}/{name}.txt"},
    "labelme": {"images": "{split}/{name}.png", "masks": "{split}/{name}.json"},
}


def read(kind: str, data: str, unlabelled: str = "ignore", **changes) -> np.ndarray:
    member = Member("a", "folder", "bytes", len(data), data=data.encode())
    masks = "m" if kind == "coco" else "m/{name}"
    files = Files("{split}/{name}", masks, kind, unlabelled=unlabelled, **changes)
    label = coco.read_file(member)["a.png"] if kind == "coco" else member
    return polygons.read_label(files, CLASSES, label, SIZE)


def parse(rows: list[str]) -> np.ndarray:
    return np.array([[255 if c == "." else int(c) for c in row] for row in rows], np.uint8)


@pytest.mark.parametrize("case", RECORDED["labelme"])
def test_labelme_draws_as_its_own_tool(case):
    assert (read("labelme", json.dumps(case)) == parse(case["expected"])).all()


@pytest.mark.parametrize("case", RECORDED["yolo"])
def test_yolo_is_drawn_as_by_ultralytics(case):
    text = "\ufeff" + "\r\n".join(case["lines"]) + "\n\n"
    assert (read("yolo", text) == parse(case["expected"])).all()


def test_labelme_mask_and_ignored_label():
    png = cv2.imencode(".png", np.array([[1, 0, 1], [0, 1, 0]], np.uint8))[1].tobytes()
    shapes = [
        {"label": "reed", "shape_type": "mask", "points": [[4.0, 7.9], [6.2, 8.0]]},
        {"label": "?", "shape_type": "rectangle", "points": [[9, 9], [8, 8]]},
    ]
    shapes[0]["mask"] = base64.b64encode(png).decode()
    label = read("labelme", json.dumps({"shapes": shapes}), "bank", ignore=("?",))
    expected = np.full(SIZE, 2)
    expected[7:9, 4:7] = [[1, 2, 1], [2, 1, 2]]
    expected[8:10, 8:10] = 255
    assert (label == expected).all()


def make_coco(rng: np.random.Generator, images: int = 6) -> dict:
    """Polygons of one and of several parts, partly outside; run lengths as lists and as text."""
    annotations = []
    for number in range(images * 7):
        center = rng.uniform(-0.1, 1.1, (1, 2)) * SIZE[::-1]
        parts = [
            center + rng.uniform(-18, 18, (rng.integers(3, 9), 2)) for _ in range(1 + number % 2)
        ]
        segmentation: object = [part.ravel().round(2).tolist() for part in parts]
        if number % 7 > 4:
            mask = cv2.blur(rng.random(SIZE), (9, 9)) > 0.52  # with holes
            segmentation = rle.encode(mask)
            if number % 7 > 5:
                segmentation["counts"] = rle.read_runs(segmentation).tolist()
        annotations.append(
            {"id": number, "image_id": number % images, "category_id": 10 + int(rng.integers(3))}
            | {"segmentation": segmentation, "iscrowd": int(number % 7 > 4), "bbox": [0, 0, 1, 1]}
        )
    names = [{"id": i, "file_name": f"{i}.png", "height": 40, "width": 56} for i in range(images)]
    categories = [{"id": 10 + k, "name": name} for k, name in enumerate(reversed(NAMES))]
    return {"images": names, "annotations": annotations, "categories": categories}


def paint_with_pycocotools(path: Path) -> dict[str, np.ndarray]:
    """Paints each image with pycocotools' masks, larger ones first."""
    tool, labels = COCO(str(path)), {}
    for number, image in tool.imgs.items():
        label = np.full(SIZE, 255, np.uint8)
        masks = [(tool.annToMask(entry), entry) for entry in tool.imgToAnns[number]]
        for mask, entry in sorted(masks, key=lambda pair: -int(pair[0].sum())):
            label[mask == 1] = NAMES.index(tool.cats[entry["category_id"]]["name"])
        labels[Path(image["file_name"]).stem] = label
    return labels


def write_photo(path: Path, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def prepare(tmp_path: Path, files: dict, *options: str, **changes) -> tuple[int, Path]:
    """`lemore fetch` and `lemore prepare` on tmp_path/ponds; (exit code, prepared folder)."""
    config, fetched, output = (tmp_path / name for name in ("ponds.yaml", "f.json", "out/ponds"))
    values = BASE | {"folder": str(tmp_path / "ponds")} | changes | {"files": files}
    config.write_text(yaml.safe_dump(values))
    shared = ["--dataset-config", str(config)]
    assert not main(["fetch", *shared, "--archives-dir", str(tmp_path), "--output", str(fetched)])
    shared += ["--fetched", str(fetched), "--output", str(output)]
    return main(["prepare", *shared, "--workers", "1", *options]), output


def read_store(output: Path, split: str) -> dict[str, np.ndarray]:
    store = Store(output, split)
    return {store.name(i): store.read_label(i) for i in range(len(store))}


@pytest.mark.parametrize(
    "changes",
    [
        {},  # images and file by split
        {"images": "photos/{name}.png"},  # the file alone says the split
        {"images": "photos/{name}.png", "masks": "all.json", "lists": {"train": "t.txt"}},
    ],
)
def test_coco_is_drawn_as_by_pycocotools(tmp_path, changes):
    files = PATTERNS["coco"] | {"mask": "coco", "unlabelled": "ignore"} | changes
    content = make_coco(np.random.default_rng(3))
    folder = tmp_path / "ponds"
    for i in range(6):
        write_photo(folder / files["images"].format(split="train", name=i), i)
    (folder / "t.txt").write_text("\n".join("012345"))
    path = folder / files["masks"].format(split="train")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    code, output = prepare(tmp_path, files, "--workers", "2")
    assert code == 0
    expected, found = paint_with_pycocotools(path), read_store(output, "train")
    assert expected.keys() == found.keys()
    for name, label in expected.items():
        assert (found[name] == label).all()
        assert len(np.unique(label)) == 4


def test_one_coco_file_is_parsed_once_for_all_splits_and_samples(tmp_path, monkeypatch):
    read_file, parsed = coco.read_file, []
    monkeypatch.setattr(coco, "read_file", lambda member: parsed.append(1) or read_file(member))
    folder = tmp_path / "ponds"
    for i in range(6):
        write_photo(folder / f"{i}.png", i)
    (folder / "all.json").write_text(json.dumps(make_coco(np.random.default_rng(3))))
    files = {"images": "{name}.png", "masks": "all.json", "mask": "coco", "unlabelled": "ignore"}
    draw = {"seed": 0, "shares": {"train": 0.5, "val": 0.5}}
    code, output = prepare(tmp_path, files | {"draw": draw}, splits={"train": None, "val": None})
    assert code == 0 and len(parsed) == 1
    assert len(read_store(output, "train") | read_store(output, "val")) == 6


def place(folder: Path, kind: str) -> Path:
    """Photos `a` with a triangle of reed, and `b` without any annotation; returns the file."""
    for number, name in enumerate("ab"):
        write_photo(folder / PATTERNS[kind]["images"].format(split="train", name=name), number)
    path = folder / PATTERNS[kind]["masks"].format(split="train", name="a")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(make_annotation(kind))
    return path


def make_annotation(kind: str) -> str:
    corners = np.array(TRIANGLE).reshape(-1, 2)
    if kind == "yolo":
        return "1 " + " ".join(map(str, (corners / SIZE[::-1]).ravel())) + "\n"
    if kind == "labelme":
        shape = {"label": "reed", "points": corners.tolist(), "shape_type": "polygon"}
        return json.dumps({"imageHeight": 40, "imageWidth": 56, "shapes": [shape]})
    image = {"id": 1, "file_name": "a.png", "height": 40, "width": 56}
    entry = {"id": 7, "image_id": 1, "category_id": 5, "segmentation": [TRIANGLE]}
    category = {"id": 5, "name": "reed"}
    return json.dumps({"images": [image], "annotations": [entry], "categories": [category]})


@pytest.mark.parametrize("kind", PATTERNS)
def test_one_class_and_the_rest_ignored_is_refused(tmp_path, capsys, kind):
    place(tmp_path / "ponds", kind)
    files = PATTERNS[kind] | {"mask": kind, "unlabelled": "ignore"}
    assert prepare(tmp_path, files)[0] == 2
    assert "show only the class 'reed'" in capsys.readouterr().err


@pytest.mark.parametrize("kind", PATTERNS)
def test_what_no_polygon_covers(tmp_path, caplog, kind):
    caplog.set_level("INFO")
    place(tmp_path / "ponds", kind)
    files = PATTERNS[kind] | {"mask": kind, "unlabelled": "bank"}
    assert prepare(tmp_path, files, "--dry-run")[0] == 0
    assert "1 of the images have no polygon: 'b'" in caplog.text
    code, output = prepare(tmp_path, files)
    assert code == 0
    labels = read_store(output, "train")
    assert (labels["b"] == 2).all()
    assert set(np.unique(labels["a"])) == {1, 2}
    assert json.loads((output / "audit.json").read_text())["splits"]["train"]["blank"] == 1
    page = tmp_path / "audit.html"
    assert main(["audit", "--data", str(output), "--output", str(page)]) == 0
    assert "photos without any polygon: 1" in page.read_text()


@pytest.mark.parametrize("kind", PATTERNS)
def test_the_smaller_polygon_is_seen_and_for_labelme_the_later(kind):
    square = np.array([[2, 2], [50, 2], [50, 38], [2, 38]])
    part = np.array([[10, 10], [20, 10], [20, 20], [10, 20]])
    if kind == "labelme":
        content = json.loads(make_annotation(kind))
        content["shapes"] = [
            {"label": name, "points": points.tolist()}
            for name, points in (("bank", part), ("reed", square))
        ]
    elif kind == "coco":
        content = json.loads(make_annotation(kind))
        content["categories"].append({"id": 3, "name": "bank"})
        content["annotations"] = [
            {"id": k, "image_id": 1, "category_id": k, "segmentation": [points.ravel().tolist()]}
            for k, points in ((3, part), (5, square))
        ]
    else:
        rows = [(2, part / SIZE[::-1]), (1, square / SIZE[::-1])]
        content = "\n".join(f"{k} {' '.join(map(str, points.ravel()))}" for k, points in rows)
    label = read(kind, content if isinstance(content, str) else json.dumps(content))
    assert label[15, 15] == (1 if kind == "labelme" else 2) and label[30, 30] == 1


def edit(**changes):
    """Changes the first annotation, or shape, or other list's first entry (coco)."""

    def harm(text: str) -> str:
        content = json.loads(text)
        for place, values in changes.items():
            if place == "all":
                content |= values
            else:
                content[place][0] |= values
        return json.dumps(content)

    return harm


def twice(place: str, **values):
    def harm(text: str) -> str:
        content = json.loads(text)
        content[place].append(content[place][0] | values)
        return json.dumps(content)

    return harm


def say(text: str):
    return lambda _: text


def segment(value):
    return edit(annotations={"segmentation": value})


def shape(**values):
    return edit(shapes=values)


RUNS = {"size": list(SIZE)}
FAULTS = [
    ("coco", say("{"), ["train.json", "not valid JSON"]),
    ("coco", say("[" * 100000), ["train.json", "not valid JSON"]),
    ("coco", say("[]"), ["train.json", "not a COCO annotation file"]),
    ("coco", say('{"images": 3, "annotations": [], "categories": []}'), ["not a COCO"]),
    ("coco", edit(categories={"name": "red"}), ["train.json", "'red'", "did you mean 'reed'?"]),
    ("coco", edit(categories={"name": "red\n" * 10**6}), ["train.json", "'red\\nred"]),
    ("coco", edit(annotations={"category_id": 9}), ["annotation 7 has category_id 9"]),
    ("coco", edit(annotations={"image_id": 4}), ["annotation 7 has image_id 4"]),
    ("coco", edit(annotations={"image_id": [4]}), ["train.json", "not a COCO"]),
    ("coco", twice("images"), ["train.json", "image 1, 'a.png', is there twice"]),
    ("coco", twice("images", id=2), ["train.json", "image 2, 'a.png', is there twice"]),
    ("coco", twice("images", id=2, file_name="c.png"), ["'c.png'", "annotation without an image"]),
    ("coco", twice("categories", name="bank"), ["two categories have the id 5"]),
    ("coco", edit(images={"file_name": "x/a.png"}), ["train.json", "'x/a.png'", "train/a.png"]),
    ("coco", edit(images={"height": 10**9}), ["image 'a.png'", "(1000000000, 56)"]),
    ("coco", segment([]), ["train.json, image 'a.png': annotation 7: has no segmentation"]),
    ("coco", segment(None), ["annotation 7: has no segmentation"]),
    ("coco", segment([[1, 2, 3, 4]]), ["annotation 7: a polygon of 4 numbers"]),
    ("coco", segment([TRIANGLE, [1, 2, 3, 4, 5]]), ["annotation 7: a polygon of 5 numbers"]),
    ("coco", segment([[1, 2, 3, 4, 5, "x"]]), ["annotation 7", "no pairs of numbers"]),
    ("coco", segment([1, 2, 3, 4, 5, 6]), ["annotation 7", "no pairs of numbers"]),
    ("coco", segment([[1, 2, 3, 4, 5, 10**9]]), ["annotation 7: point (5, 1e+09)", "56 x 40"]),
    ("coco", segment([[1, 2, 3, 4, 5, float("nan")]]), ["annotation 7: point (5, nan)"]),
    ("coco", segment([[1, 2, 3, 4, 5, 10**400]]), ["annotation 7"]),
    (
        "coco",
        segment({"size": [10**9, 10**9], "counts": [10**18]}),
        ["mask is [1000000000"],
    ),
    ("coco", segment(RUNS | {"counts": [2300, -60]}), ["annotation 7: run lengths"]),
    ("coco", segment(RUNS | {"counts": [2**62] * 4 + [2240]}), ["annotation 7: run lengths"]),
    ("coco", segment(RUNS | {"counts": [2239.5, 0.5]}), ["annotation 7: run lengths"]),
    ("coco", segment(RUNS | {"counts": "o" * 10**6}), ["annotation 7: not a text of run lengths"]),
    ("coco", segment(RUNS | {"counts": "PPYo"}), ["annotation 7", "cut short"]),
    ("coco", segment(RUNS | {"counts": "\x00\xff"}), ["annotation 7: not a text of run lengths"]),
    ("coco", segment(RUNS), ["annotation 7: not a run-length mask (KeyError('counts'))"]),
    ("yolo", say("1 0.5 0.5 0.1 0.1\n"), ["a.txt: line 1: is a box"]),
    ("yolo", say("\n1 0.1 0.1 0.2 0.2\n"), ["a.txt: line 2: is a box"]),
    ("yolo", say("1 0.1 0.1 0.2 0.2 0.3"), ["line 1: 6 numbers"]),
    ("yolo", say("1 0.1 0.1 0.2 0.2 0.3 0.3 0.4"), ["line 1: 8 numbers"]),
    ("yolo", say("3 0.1 0.1 0.2 0.2 0.3 0.3"), ["a.txt: line 1: class 3"]),
    ("yolo", say("nan 0.1 0.1 0.2 0.2 0.3 0.3"), ["a.txt: line 1: class nan"]),
    ("yolo", say("1 0.1 0.1 0.2 0.2 nan 0.3"), ["line 1: coordinates outside 0 to 1"]),
    ("yolo", say("1 1 1 20 20 30 3"), ["line 1: coordinates outside 0 to 1"]),
    ("yolo", say("reed 0.1 0.1 0.2 0.2 0.3 0.3"), ["line 1: not all of it is numbers"]),
    ("yolo", say("1 0.1 \udcff"), ["a.txt", "is not text in UTF-8"]),
    ("labelme", say('{"a": "\udcff"}'), ["a.json: not valid JSON"]),
    ("labelme", say("{"), ["a.json: not valid JSON"]),
    ("labelme", say('{"a":' * 100000), ["a.json: not valid JSON"]),
    ("labelme", say('{"images": []}'), ["a.json: not a LabelMe file"]),
    ("labelme", edit(all={"imageHeight": 10**9}), ["a.json: imageHeight is 1000000000"]),
    ("labelme", shape(label="red"), ["a.json: shape 1: label 'red'", "did you mean 'reed'?"]),
    ("labelme", shape(label=None), ["a.json: shape 1: it has no label"]),
    ("labelme", shape(points=[[1, 2], [3, 4]]), ["shape 1: polygon 'reed' with 2 points"]),
    ("labelme", shape(points=[[1, 2], [3, 4, 5], [6]]), ["shape 1: its points are no pairs"]),
    ("labelme", shape(points=None), ["shape 1: its points are no pairs"]),
    ("labelme", shape(points=[[1, 2], [3, 4], [1e12, 5]]), ["shape 1: point (1e+12, 5)"]),
    ("labelme", shape(shape_type="circle"), ["shape 1: circle 'reed' with 3 points"]),
    ("labelme", shape(shape_type=["polygon"]), ["shape 1: shape_type ['polygon']"]),
    ("labelme", shape(label="a\n" * 10**6), ["shape 1: label 'a\\na\\n"]),
    ("labelme", shape(shape_type="cuboid"), ["shape 1: shape_type 'cuboid'"]),
    ("labelme", shape(shape_type="mask", points=[[0, 0], [9, 9]], mask="?"), ["no PNG in base 64"]),
]


@pytest.mark.parametrize(("kind", "harm", "words"), FAULTS)
def test_faults_are_named(tmp_path, capsys, kind, harm, words):
    path = place(tmp_path / "ponds", kind)
    path.write_text(harm(path.read_text()), errors="surrogateescape")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    files = PATTERNS[kind] | {"mask": kind, "unlabelled": "ignore"}
    code, output = prepare(tmp_path, files)
    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and not output.exists()
    assert all(word in error for word in words), error
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (200 << 10)  # KiB


@pytest.mark.parametrize("kind", ["yolo", "labelme"])
def test_an_annotation_without_its_photo(tmp_path, capsys, kind):
    path = place(tmp_path / "ponds", kind)
    path.with_name("c" + path.suffix).write_bytes(path.read_bytes())
    code, _ = prepare(tmp_path, PATTERNS[kind] | {"mask": kind, "unlabelled": "ignore"})
    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and f"c{path.suffix}: annotation without an image" in error


def trace(mask: np.ndarray, classes: range) -> list[tuple[int, np.ndarray]]:
    """Outlines of the regions of every class, as (class, N x 2 corners), larger ones first."""
    found = []
    for k in classes:
        outlines, _ = cv2.findContours(
            (mask == k).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        found += [(k, outline[:, 0]) for outline in outlines if len(outline) > 2]
    return sorted(found, key=lambda region: -cv2.contourArea(region[1]))


def write_camvid(samples: Path, folder: Path, kind: str, names: list[str]) -> dict[str, np.ndarray]:
    """Writes two frames of CamVid for each split with polygons; returns their own masks."""
    masks: dict[str, np.ndarray] = {}
    for split in ("train", "val"):
        content = {
            "images": [],
            "annotations": [],
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(names)],
        }
        for path in sorted((samples / "camvid/annotations" / split).glob("*.png"))[::50][:2]:
            mask = masks[path.stem] = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            regions = trace(mask, range(len(names)))
            photo = samples / f"camvid/images/{split}/{path.stem}.jpg"
            label, to = (
                folder / PATTERNS[kind][key].format(split=split, name=path.stem)
                for key in ("masks", "images")
            )
            to = to.with_suffix(".jpg")
            for target in (to, label):
                target.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(photo.read_bytes())
            height, width = mask.shape
            if kind == "coco":
                number = len(content["images"])
                image = {"id": number, "file_name": to.name, "height": height, "width": width}
                content["images"].append(image)
                content["annotations"] += [
                    {"id": i, "image_id": number, "category_id": k + 1, "iscrowd": 0}
                    | {"segmentation": [corners.ravel().tolist()]}
                    for i, (k, corners) in enumerate(regions, len(content["annotations"]))
                ]
                label.write_text(json.dumps(content))
            elif kind == "yolo":
                lines = [
                    f"{k} {' '.join(f'{v:.6f}' for v in (corners / (width, height)).ravel())}\n"
                    for k, corners in regions
                ]
                label.write_text("".join(lines))
            else:
                shapes = [{"label": names[k], "points": c.tolist()} for k, c in regions]
                sides = {"imageHeight": height, "imageWidth": width}
                label.write_text(json.dumps(sides | {"shapes": shapes}))
    return masks


@pytest.mark.parametrize("kind", PATTERNS)
def test_frames_of_camvid_keep_their_masks(tmp_path, samples, kind):
    names = list(load("camvid").names)
    masks = write_camvid(samples, tmp_path / "ponds", kind, names)
    files = PATTERNS[kind] | {"mask": kind, "unlabelled": "ignore"}
    files["images"] = files["images"].replace(".png", ".jpg")
    code, output = prepare(
        tmp_path,
        files,
        num_classes=len(names),
        classes=[{"name": name} for name in names],
        splits={"train": 2, "val": 2},
    )
    assert code == 0
    found = read_store(output, "train") | read_store(output, "val")
    assert found.keys() == masks.keys()
    for name, mask in masks.items():
        known = mask < len(names)
        assert (found[name] == mask)[known].mean() > 0.9, (found[name] == mask)[known].mean()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mask": "coco"}, "ponds.yaml: files.unlabelled is None"),
        ({"mask": "index", "unlabelled": "ignore"}, "files.unlabelled is ignore"),
        ({"mask": "yolo", "unlabelled": "lake"}, "files.unlabelled is 'lake'"),
        ({"mask": "coco", "unlabelled": "bank", "masks": "{name}.json"}, "files.masks is"),
        ({"mask": "coco", "unlabelled": "bank", "masks": "{split}.json", "images": "{name}"}
         | {"draw": {"seed": 0, "shares": {"train": 1.0}}}, "one way"),
        ({"mask": "coco", "unlabelled": "bank", "ignore": [3]}, "expected a name for mask: coco"),
        ({"mask": "yolo", "unlabelled": "bank", "ignore": ["x"]}, "a number for mask: yolo"),
        ({"mask": "yolo", "unlabelled": "bank", "ignore": [2]}, "files.ignore: '2' is a class"),
        ({"mask": "labelme", "unlabelled": "bank", "ignore": ["reed"]}, "'reed' is a class"),
    ],
)  # fmt: skip
def test_mistakes_in_the_yaml(changes, words):
    files = {"images": "{split}/{name}.jpg", "masks": "{split}.json"} | changes
    with pytest.raises(ValueError, match=words):
        build(DatasetConfig, BASE | {"files": files}, "ponds.yaml")
