"""Prepare on small folders made here: what it maps, what it refuses, what it leaves behind."""

import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lemore.config.dataset import DatasetConfig
from lemore.config.read import load
from lemore.data.archives.source import open_source
from lemore.data.prepare import samples
from lemore.data.prepare.build import build_store
from lemore.data.store import Store
from lemore.runtime.files import write_json
from lemore.runtime.lock import hold_lock
from lemore.scenes.archives import pack_zip

ROOT = Path(__file__).parents[2]
SPLITS = {"train": 3, "val": 2}
CONFIG = replace(load(DatasetConfig, ROOT / "config/datasets/ade20k.yaml"), splits=SPLITS)
FOLDERS = {"train": "training", "val": "validation"}


def photo(split: str, i: int) -> Path:
    return Path(f"images/{FOLDERS[split]}/ADE_{split}_{i:08d}.jpg")


def mask(split: str, i: int) -> Path:
    return Path(f"annotations/{FOLDERS[split]}/ADE_{split}_{i:08d}.png")


def label(i: int) -> np.ndarray:
    """20 x 30, raw values 0..150."""
    return (np.arange(600).reshape(20, 30) * (i + 1) % 151).astype(np.uint8)


@pytest.fixture
def source(tmp_path) -> Path:
    """ADEChallengeData2016 with 3 + 2 samples."""
    root = tmp_path / "archives/ade20k/ADEChallengeData2016"
    rng = np.random.default_rng(0)
    for split, count in SPLITS.items():
        for i in range(1, count + 1):
            for path in (photo(split, i), mask(split, i)):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 255, (20, 30, 3), np.uint8)
            (root / photo(split, i)).write_bytes(cv2.imencode(".jpg", noise)[1].tobytes())
            cv2.imwrite(str(root / mask(split, i)), label(i))
    return root


def run(source: Path, name: str = "ade20k", **options) -> dict:
    folder = source.parents[2]
    sha256 = options.pop("sha256", "")
    record = {"dataset": "ade20k", "archives": [], "folder": str(source.parent), "sha256": sha256}
    write_json(folder / "fetched.json", record)
    chosen = {"code": "1", "workers": 1, "allow_partial": False} | options
    config = chosen.pop("config", CONFIG)
    found = open_source(name, folder / "fetched.json")
    return build_store(name, config, found, folder / "data/ade20k", **chosen)


def output(source: Path) -> Path:
    return source.parents[2] / "data/ade20k"


def test_labels_are_mapped_once_and_photos_kept(source):
    run(source)
    store = Store(output(source), "train")
    assert [store.name(i) for i in range(3)] == [photo("train", i).stem for i in (1, 2, 3)]
    assert store.get_size(1) == (20, 30) and (len(store), store.num_classes) == (3, 150)
    for i in (1, 2, 3):
        image, train_ids = store.read(i - 1)
        expected = np.where(label(i) == 0, 255, label(i).astype(int) - 1)
        assert (train_ids == expected).all() and train_ids.dtype == np.uint8
        data = (source / photo("train", i)).read_bytes()
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        assert (image == decoded[..., ::-1]).all()


def test_store_travels_to_other_processes(source):
    run(source)
    store = Store(output(source), "val")
    store.read(0)
    other = pickle.loads(pickle.dumps(store))
    assert (other.read(1)[1] == store.read(1)[1]).all()
    if (child := os.fork()) == 0:
        os._exit(0 if (store.read(1)[1] == other.read(1)[1]).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.find("ADE_val_00000002") == 1
    with pytest.raises(ValueError, match="no image 'x'"):
        store.find("x")
    with pytest.raises(ValueError, match="no split 'test'"):
        Store(output(source), "test")


def test_the_digest_is_that_of_the_content(source):
    first = run(source)
    assert run(source, workers=2) == first
    root = source.parent
    files = [(p.relative_to(root).as_posix(), p.read_bytes()) for p in sorted(root.rglob("*.*g"))]
    archive = root.parent / "ADEChallengeData2016.zip"
    archive.write_bytes(pack_zip(files))
    entry = {"file": archive.name, "path": str(archive), "bytes": archive.stat().st_size}
    fetched = root.parent / "zip.json"
    write_json(fetched, {"dataset": "ade20k", "archives": [entry | {"sha256": ""}]})
    options = {"code": "1", "workers": 1, "allow_partial": False}
    found = open_source("ade20k", fetched)
    assert build_store("ade20k", CONFIG, found, output(source), **options) == first
    cv2.imwrite(str(source / mask("val", 1)), label(7))
    changed = run(source)
    assert changed["splits"]["train"] == first["splits"]["train"]
    assert changed["splits"]["val"] != first["splits"]["val"]
    assert changed["sha256"] != first["sha256"]


def test_audit_counts(source):
    run(source)
    audit = json.loads((output(source) / "audit.json").read_text())
    train, raw = audit["splits"]["train"], np.stack([label(i) for i in (1, 2, 3)])
    assert train["pixels"] == [int((raw == k + 1).sum()) for k in range(150)]
    assert train["images"] == [int((raw == k + 1).any(axis=(1, 2)).sum()) for k in range(150)]
    assert train["ignored_share"] == pytest.approx((raw == 0).mean())
    assert sum(audit["class_frequencies"]) == pytest.approx(1)
    assert train["sizes"]["common"] == [[20, 30, 3]] and train["modes"] == {"JPEG colour 8 bit": 3}
    assert audit["problems"] == [] and (output(source) / "thumbnails/val.jpg").exists()


def damage(source: Path, fault: str) -> str:
    """Breaks one training sample; returns what the message must say besides the file's name."""
    if fault == "undeclared":
        cv2.imwrite(str(source / mask("train", 2)), np.full((20, 30), 200, np.uint8))
        return "label values 200 are in no class"
    if fault == "size":
        cv2.imwrite(str(source / mask("train", 2)), label(2)[:, :29])
        return r"label is \(20, 29\), image \(20, 30\)"
    if fault == "cut":
        path = source / photo("train", 2)
        path.write_bytes(path.read_bytes()[:-40])
        return "cut JPEG"
    if fault == "empty":
        (source / photo("train", 2)).write_bytes(b"")
        return "is empty"
    path = source / (mask if fault == "no annotation" else photo)("train", 2)
    path.unlink()
    return "image without an annotation" if fault == "no annotation" else "without an image"


FAULTS = ["undeclared", "size", "cut", "empty", "no annotation", "no image"]


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_refused_by_name_and_the_old_store_stays(source, fault):
    before = run(source)
    text = damage(source, fault)
    with pytest.raises(ValueError, match=rf"(?s)ADE_train_00000002.*{text}"):
        run(source)
    rejected = json.loads(output(source).with_name("ade20k.rejected.json").read_text())
    assert [entry["name"] for entry in rejected["quarantined"]] == ["ADE_train_00000002"]
    digest = json.loads((output(source) / "digest.json").read_text())
    assert digest == before and len(Store(output(source), "train")) == 3
    assert not list(output(source).parent.glob(".*.tmp"))


def test_faults_within_the_limit_are_left_out_and_listed(source):
    damage(source, "cut")
    config = replace(CONFIG, quarantine_limit=1)
    assert run(source, config=config)["splits"]["train"]["count"] == 2
    audit = json.loads((output(source) / "audit.json").read_text())
    assert [entry["name"] for entry in audit["quarantined"]] == ["ADE_train_00000002"]


def test_other_counts_need_consent(source, caplog):
    config = replace(CONFIG, splits={"train": 3, "val": 2000})
    with pytest.raises(ValueError, match=r"'val' has 2 images, expected 2000.*--allow-partial"):
        run(source, config=config)
    run(source, config=config, allow_partial=True)
    assert "expected 2000" in caplog.text


def test_same_photo_in_two_splits_is_reported(source):
    data = (source / photo("train", 1)).read_bytes()
    (source / photo("val", 1)).write_bytes(data)
    run(source)
    audit = json.loads((output(source) / "audit.json").read_text())
    assert audit["duplicates"] == [["train/ADE_train_00000001", "val/ADE_val_00000001"]]


def test_full_ade20k_release_is_refused(tmp_path):
    folder = tmp_path / "archives/ade20k/ADE20K_2021_17_01/images/ADE/training"
    folder.mkdir(parents=True)
    (folder / "ADE_train_00000001.jpg").write_bytes(b"x")
    (folder / "ADE_train_00000001_seg.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"full ADE20K release.*ADEChallengeData2016\.zip"):
        run(tmp_path / "archives/ade20k/ADE20K_2021_17_01")


def test_two_at_once_and_a_killed_one(source):
    leftover = output(source).with_name(".ade20k.tmp")
    (leftover / "junk").mkdir(parents=True)
    told = f"process {os.getpid()} on .* is writing it"
    with hold_lock(output(source)), pytest.raises(OSError, match=told):
        run(source)
    run(source)
    assert not leftover.exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def interrupted(source, monkeypatch) -> tuple[Path, list[str]]:
    """A prepare that died at the third sample, and the names that are prepared from then on."""
    asked: list[str] = []

    def prepare_sample(config, sample, short_side):
        asked.append(sample.name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return samples.prepare_sample(config, sample)

    monkeypatch.setattr("lemore.data.prepare.journal.PERIOD", 0.0)
    monkeypatch.setattr("lemore.data.prepare.build.prepare_sample", prepare_sample)
    with pytest.raises(KeyboardInterrupt):
        run(source)
    assert not output(source).exists()
    return source, asked


def test_an_interrupted_prepare_goes_on(interrupted):
    source, asked = interrupted
    (output(source).with_name(".ade20k.tmp") / "train.images").open("ab").write(b"half a photo")
    run(source)
    assert asked[3:] == [photo("train", 3).stem, photo("val", 1).stem, photo("val", 2).stem]
    resumed = contents(output(source))
    shutil.rmtree(output(source))
    run(source)
    assert contents(output(source)) == resumed


@pytest.mark.parametrize("change", ["code", "data"])
def test_work_of_other_code_or_data_is_not_continued(interrupted, change):
    source, asked = interrupted
    if change == "data":
        cv2.imwrite(str(source / mask("train", 1)), label(7))
    run(source, **({"code": "2"} if change == "code" else {"sha256": "changed"}))
    assert len(asked) == 3 + 5


def test_what_was_fetched_must_be_this_dataset_and_still_be_there(source):
    with pytest.raises(ValueError, match="fetched for 'ade20k', not for 'camvid'"):
        run(source, name="camvid")
    os.rename(source.parent, source.parent.with_name("moved"))
    with pytest.raises(ValueError, match="run `lemore fetch` again"):
        run(source)
