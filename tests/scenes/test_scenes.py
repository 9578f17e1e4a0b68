"""Drawn scenes: the same bytes every time, in the genuine layouts, through fetch and prepare."""

import argparse
import gzip
import io
import json
import re
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from scipy.io import loadmat, savemat

from lemore.commands import scenes as task
from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.config.read import load
from lemore.data.archives.images import decode_rgb
from lemore.data.archives.masks import decode_label
from lemore.data.archives.source import open_source
from lemore.data.fetch.obtain import obtain_archives
from lemore.data.prepare.build import build_store
from lemore.data.readers import rle
from lemore.data.readers.pascal_ids import SPARSE_IDS
from lemore.data.store import Store
from lemore.runtime.files import read_json, write_atomic, write_json
from lemore.scenes import pictures
from lemore.scenes.archives import pack_mat, pack_tar
from lemore.scenes.layouts import draw_archives
from lemore.scenes.words import READERS, WORDS, read_raw_values

ROOT = Path(__file__).parents[2]
NAMES = ("ade20k", "cityscapes", "pascal_context_59", "pascal_context_60", "coco_stuff_10k")
SMALL = {"train": 4, "val": 2}


def small(name: str, splits: dict[str, int] | None = None) -> DatasetConfig:
    config = load(DatasetConfig, ROOT / f"config/datasets/{name}_scenes.yaml")
    return replace(config, splits=splits or SMALL)


@pytest.fixture(scope="module")
def drawn() -> dict[str, dict[str, bytes]]:
    """Archives by dataset, drawn in this process."""
    made = {name: dict(draw_archives(name, small(name), workers=1)) for name in NAMES}
    counts = {"train": 20, "val": 20}
    made["imagenet_1k"] = dict(draw_archives("x", small("imagenet_1k", counts), workers=1))
    return made


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        write_atomic(folder / name, content)


def store_of(name: str, files: dict[str, bytes], folder: Path, splits=None) -> Path:
    """Through fetch and prepare, as a user would."""
    config, dataset = small(name, splits), f"{name}_scenes"
    write_files(folder / "archives" / dataset, files)
    fetched = folder / f"{dataset}.json"
    write_json(fetched, obtain_archives(dataset, config, folder / "archives", [], fetched)[0])
    output = folder / "data" / dataset
    options = {"code": "1", "workers": 1, "allow_partial": False}
    build_store(dataset, config, open_source(dataset, fetched), output, **options)
    return output


def words_of(name: str, index: int) -> np.ndarray:
    plan = small(name).scenes
    assert plan is not None and plan.kind != "objects"
    return pictures.draw_scene(plan.kind, plan.size, plan.seed, index)[1]


@pytest.mark.parametrize("name", ["ade20k", "cityscapes", "pascal_context_60", "coco_stuff_10k"])
def test_same_bytes_from_other_processes(drawn, name):
    assert dict(draw_archives(name, small(name), workers=2)) == drawn[name]


def test_a_scene_depends_on_seed_and_index_alone():
    one = pictures.draw_scene("mixed", (72, 96), 5, 3)
    pictures.draw_scene("streets", (72, 96), 9, 9)
    again = pictures.draw_scene("mixed", (72, 96), 5, 3)
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    for seed, index in ((5, 4), (6, 3)):
        assert (pictures.draw_scene("mixed", (72, 96), seed, index)[0] != one[0]).any()


@pytest.mark.parametrize("kind", ["mixed", "streets"])
def test_scenes_are_worth_learning(kind):
    seen: set[int] = set()
    for index in range(24):
        image, label = pictures.draw_scene(kind, (72, 128), 0, index)
        assert image.shape == (72, 128, 3) and label.shape == (72, 128)
        assert image.dtype == label.dtype == np.uint8 and image.std() > 15
        values, counts = np.unique(label, return_counts=True)
        assert len(values) >= 4 and counts.max() < 0.85 * label.size
        assert (label == WORDS.index("void")).mean() < 0.1
        seen |= set(values.tolist())
    assert len(seen) >= 20


@pytest.mark.parametrize("reader", READERS)
def test_every_word_has_a_class_or_is_ignored(reader):
    table = "pascal_context_60" if reader == "pascal_context" else reader
    values = read_raw_values(reader)
    names = {raw: name for name, raw in labels.load_raw_ids(table).items()}
    given = {word: names.get(values[i]) for i, word in enumerate(WORDS)}
    assert all(word in (given[word] or "") for word in ("road", "building", "car", "person"))
    assert len({name for name in given.values() if name}) >= 20


def test_cityscapes_words_cover_all_classes():
    table = labels.load("cityscapes")
    drawn_ids = set(read_raw_values("cityscapes").tolist())
    assert set(table.raw_ids) <= drawn_ids


def test_ade20k_layout(drawn):
    files = zipfile.ZipFile(io.BytesIO(drawn["ade20k"]["ADEChallengeData2016.zip"]))
    names = files.namelist()
    pattern = r"ADEChallengeData2016/images/(training|validation)/ADE_(train|val)_\d{8}\.jpg"
    assert sum(bool(re.fullmatch(pattern, name)) for name in names) == 6
    info = files.read("ADEChallengeData2016/objectInfo150.txt").decode().splitlines()
    assert len(info) == 151 and info[1].split("\t")[-1] == "wall"
    label = decode_label(
        files.read("ADEChallengeData2016/annotations/training/ADE_train_00000001.png")
    )
    expected = read_raw_values("ade20k")[words_of("ade20k", 0)]
    assert (label == expected).all() and label.max() <= 150


def test_cityscapes_layout(drawn):
    masks = zipfile.ZipFile(io.BytesIO(drawn["cityscapes"]["gtFine_trainvaltest.zip"]))
    photos = zipfile.ZipFile(io.BytesIO(drawn["cityscapes"]["leftImg8bit_trainvaltest.zip"]))
    pattern = r"leftImg8bit/(train|val)/([a-z]+)/\2_\d{6}_\d{6}_leftImg8bit\.png"
    assert all(re.fullmatch(pattern, name) for name in photos.namelist())
    table = labels.load("cityscapes")
    for name in masks.namelist():
        if name.endswith("_labelIds.png"):
            label = decode_label(masks.read(name))
            color = decode_rgb(masks.read(name.replace("labelIds", "color")))
            for raw, expected in zip(table.raw_ids, table.colors, strict=True):
                assert (color[label == raw] == expected).all()


def test_coco_layout_and_its_boxes(tmp_path):
    """Every box, area and mask is that of one object, as pycocotools and the label map see it."""
    splits = {"train": 6, "val": 2}
    files = dict(draw_archives("x", small("coco", splits), workers=1))
    assert list(files) == ["train2017.zip", "val2017.zip", "annotations_trainval2017.zip"]
    archive = zipfile.ZipFile(io.BytesIO(files["annotations_trainval2017.zip"]))
    plan, ids = small("coco").scenes, read_raw_values("coco_stuff_10k")
    assert plan is not None and plan.kind != "objects"
    index, crowds = 0, 0
    for split, count in splits.items():
        archive.extract(name := f"annotations/instances_{split}2017.json", tmp_path)
        tool = COCO(str(tmp_path / name))
        assert len(tool.imgs) == count and len(tool.cats) == 80
        for number, image in tool.imgs.items():
            size = (image["height"], image["width"])
            words = pictures.draw_scene(plan.kind, size, plan.seed, index)[1]
            assert size == ((192, 144) if index % 4 == 3 else (144, 192))
            for entry in tool.imgToAnns[number]:
                mask = tool.annToMask(entry) == 1
                x, y, w, h = entry["bbox"]
                inside = words[y : y + h, x : x + w]
                assert inside.shape == (h, w) and entry["category_id"] in ids[inside]
                if entry["iscrowd"]:
                    rows, columns = np.nonzero(mask)
                    assert mask.sum() == entry["area"]
                    assert [columns.min(), rows.min()] == [x, y]
                    assert [columns.max() + 1, rows.max() + 1] == [x + w, y + h]
                    assert (ids[words[mask]] == entry["category_id"]).all()
                else:
                    assert not mask[: max(y - 1, 0)].any() and not mask[:, x + w + 1 :].any()
                    assert 16 <= entry["area"] <= w * h
                crowds += entry["iscrowd"]
            index += 1
    assert crowds >= 1
    store = Store(store_of("coco", files, tmp_path, splits), "train")
    assert len(store) == 6 and store.count_objects().sum() > 20 and store.category_ids[-1] == 90
    assert store.read_image(3).shape == (192, 144, 3)


def test_pascal_59_and_60_are_the_same_pictures(drawn, tmp_path):
    assert drawn["pascal_context_59"] == drawn["pascal_context_60"]
    part = Store(store_of("pascal_context_59", drawn["pascal_context_59"], tmp_path), "train")
    full = Store(store_of("pascal_context_60", drawn["pascal_context_60"], tmp_path), "train")
    for i in range(len(full)):
        label = full.read_label(i)
        assert (part.read_label(i) == np.where(label == 0, 255, label.astype(int) - 1)).all()
        assert (part.read_image(i) == full.read_image(i)).all()


def test_pascal_json_and_original_mat_files_agree(drawn, tmp_path):
    files = dict(drawn["pascal_context_60"])
    by_json = store_of("pascal_context_60", files, tmp_path / "json")
    document = json.loads(files.pop("trainval_merged.json"))
    mats = []
    for image in document["images"]:
        label = np.full((image["height"], image["width"]), 431, np.uint16)  # 431: "unknown"
        for entry in document["annos_segmentation"]:
            if entry["image_id"] == image["image_id"]:
                label[rle.decode(entry["segmentation"])] = entry["category_id"]
        name = image["file_name"].replace(".jpg", ".mat")
        mats.append((f"trainval/{name}", pack_mat({"LabelMap": label})))
    files["trainval.tar.gz"] = gzip.compress(pack_tar(mats))
    config = small("pascal_context_60")
    other = replace(config.archives[1], instead=("trainval.tar.gz",))
    folder = tmp_path / "mat/archives/pascal_context_60_scenes"
    write_files(folder, files)
    config = replace(config, archives=(config.archives[0], other))
    fetched = tmp_path / "mat/fetched.json"
    name = "pascal_context_60_scenes"
    write_json(fetched, obtain_archives(name, config, folder.parent, [], fetched)[0])
    output = tmp_path / "mat/data"
    options = {"code": "1", "workers": 1, "allow_partial": False}
    digest = build_store(name, config, open_source(name, fetched), output, **options)
    assert digest == read_json(by_json / "digest.json")
    assert ".mat" in read_json(output / "audit.json")["annotation"]


def test_pascal_category_that_is_no_class_is_refused(drawn, tmp_path):
    files = dict(drawn["pascal_context_60"])
    text = files["trainval_merged.json"].decode()
    wrong = re.sub(
        r'"category_id":\d+,"segmentation"', '"category_id":3,"segmentation"', text, count=1
    )
    files["trainval_merged.json"] = wrong.encode()
    with pytest.raises(ValueError, match="category id 3 is none of the 59 classes"):
        store_of("pascal_context_60", files, tmp_path)
    assert 3 not in SPARSE_IDS


def test_coco_stuff_layout(drawn, tmp_path):
    files = zipfile.ZipFile(io.BytesIO(drawn["coco_stuff_10k"]["cocostuff-10k-v1.1.zip"]))
    assert len(files.read("imageLists/all.txt").split()) == 6
    first = files.read("imageLists/train.txt").decode().split()[0]
    raw = loadmat(io.BytesIO(files.read(f"annotations/{first}.mat")))["S"]
    missing = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
    assert raw.max() <= 182 and not missing & set(raw.ravel().tolist())
    store = Store(store_of("coco_stuff_10k", drawn["coco_stuff_10k"], tmp_path), "train")
    names = np.array([*labels.load("coco_stuff_10k").names, "?"])
    sky = names[np.minimum(store.read_label(0), 171)] == "sky-other"
    assert (sky == (raw == 157)).all()


def test_unused_coco_id_is_refused(drawn, tmp_path):
    content = drawn["coco_stuff_10k"]["cocostuff-10k-v1.1.zip"]
    source = zipfile.ZipFile(io.BytesIO(content))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("0001.mat"):
                data = io.BytesIO()
                savemat(data, {"S": np.full((144, 192), 12, np.uint8)})
                data = data.getvalue()
            archive.writestr(name, data)
    with pytest.raises(ValueError, match=r"0001\.mat.*label values 12 are in no class"):
        store_of("coco_stuff_10k", {"cocostuff-10k-v1.1.zip": buffer.getvalue()}, tmp_path)


def test_imagenet_labels_are_those_drawn(drawn, tmp_path):
    files = drawn["imagenet_1k"]
    with tarfile.open(fileobj=io.BytesIO(files["ILSVRC2012_img_train.tar"])) as outer:
        assert [Path(name).stem for name in outer.getnames()] == list(pictures.OBJECT_CLASSES)
    folder = store_of("imagenet_1k", files, tmp_path, {"train": 20, "val": 20})
    plan = small("imagenet_1k").scenes
    assert plan is not None
    for split, start in (("train", 0), ("val", 20)):
        store = Store(folder, split)
        assert store.task == "classification" and store.classes == list(pictures.OBJECT_CLASSES)
        found = {store.read_image(i).tobytes(): store.read_label(i) for i in range(len(store))}
        for index in range(start, start + 20):
            picture = pictures.encode_jpeg(
                pictures.draw_object(index % 10, plan.size, plan.seed, index)
            )
            assert found[decode_rgb(picture).tobytes()] == index % 10


def test_the_kits_numbers_are_not_the_class_numbers(drawn):
    content = io.BytesIO(drawn["imagenet_1k"]["ILSVRC2012_devkit_t12.tar.gz"])
    with tarfile.open(fileobj=content) as kit:
        meta = kit.extractfile("ILSVRC2012_devkit_t12/data/meta.mat")
        assert meta is not None
        synsets = loadmat(io.BytesIO(meta.read()), squeeze_me=True)["synsets"]
    leaves = [row for row in synsets if row["num_children"] == 0]
    ids = {str(row["WNID"]): int(row["ILSVRC2012_ID"]) for row in leaves}
    assert sorted(ids.values()) == list(range(1, 11))
    assert [ids[wnid] - 1 for wnid in pictures.OBJECT_CLASSES] != list(range(10))


def test_the_command_writes_archives_and_digest(tmp_path):

    text = (ROOT / "config/datasets/ade20k_scenes.yaml").read_text()
    text = text.replace("{train: 240, val: 60}", "{train: 2, val: 1}")
    (tmp_path / "ade20k_scenes.yaml").write_text(text)
    parser = argparse.ArgumentParser()
    task.add_arguments(parser)
    command = ["--dataset-config", str(tmp_path / "ade20k_scenes.yaml"), "--workers", "1"]
    for folder in ("a", "b"):
        assert task.run(parser.parse_args([*command, "--output", str(tmp_path / folder)])) == 0
    first, second = (read_json(tmp_path / folder / "digest.json") for folder in ("a", "b"))
    assert first["sha256"] == second["sha256"] and first["scenes"] is True
    config = small("ade20k", {"train": 2, "val": 1})
    options = {"code": "1", "workers": 1, "allow_partial": False}
    source = open_source("ade20k_scenes", tmp_path / "a/digest.json")
    digest = build_store("ade20k_scenes", config, source, tmp_path / "d", **options)
    assert digest["source"] == "scenes" and digest["stands_for"] == "ade20k"


def test_only_drawn_datasets_are_drawn(tmp_path):

    path = ROOT / "config/datasets/camvid.yaml"
    args = argparse.Namespace(dataset_config=path, output=tmp_path, workers=1)
    with pytest.raises(ValueError, match="lemore fetch"):
        task.run(args)
