"""A dataset's own files: a fetch is due when their content changes, whatever their times say."""

import os
import shutil
import time
from pathlib import Path

import pytest

from lemore.config import placed
from lemore.config.dataset import Archive, DatasetConfig
from lemore.config.own_files import ClassConfig, Files
from lemore.config.placed import find_key, find_placed
from lemore.runtime.files import read_json
from lemore.runtime.hashes import hash_files, stamp_files


def make_config(folder: Path, archives: tuple[Archive, ...] = ()) -> DatasetConfig:
    return DatasetConfig(
        title="Ponds",
        task="segmentation",
        num_classes=2,
        licence="own",
        splits={"train": None},
        folder=str(folder),
        files=Files("{split}/{name}.jpg", "{split}/{name}.png", "index"),
        classes=(ClassConfig("water"), ClassConfig("reed")),
        archives=archives,
    )


class Folder:
    """Some files, and the JSON of a fetch that has taken them."""

    def __init__(self, tmp_path: Path, archives: tuple[Archive, ...] = ()):
        self.path, self.fetched = tmp_path / "ponds", tmp_path / "ponds.json"
        self.config = make_config(self.path, archives)
        self.write("train/a.jpg", b"photo")
        self.write("train/a.png", b"mask")
        self.fetch()

    def write(self, name: str, content: bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def find(self) -> placed.Placed:
        return find_placed("ponds", self.config, Path("nowhere"))

    def fetch(self) -> None:
        found = self.find()
        hashes = hash_files(self.path, found.stamp(), {})
        placed.remember_fetched(self.fetched, found.make_key(), hashes)

    @property
    def key(self) -> str:
        return find_key(self.find(), self.fetched)


def touch(folder: Folder) -> None:
    for path in folder.path.rglob("*"):
        os.utime(path, (1, 1))


def copy(folder: Folder) -> None:
    other = folder.path.with_name("copy")
    shutil.copytree(folder.path, other, copy_function=shutil.copy)
    shutil.rmtree(folder.path)
    other.rename(folder.path)


def hide(folder: Folder) -> None:
    folder.write("train/.cache", b"x")


def remove_all(folder: Folder) -> None:
    shutil.rmtree(folder.path)


@pytest.mark.parametrize("change", [touch, copy, hide, remove_all])
def test_the_same_files_are_not_fetched_again(tmp_path, change):
    """All of them gone is no change either: photos may be removed once they are prepared."""
    folder = Folder(tmp_path)
    before = folder.key
    change(folder)
    assert folder.key == before


def add(folder: Folder) -> None:
    folder.write("train/b.jpg", b"new")


def remove(folder: Folder) -> None:
    (folder.path / "train/a.png").unlink()


def rename(folder: Folder) -> None:
    (folder.path / "train/a.png").rename(folder.path / "train/c.png")


def replace(folder: Folder) -> None:
    folder.write("train/a.png", b"MASK")


@pytest.mark.parametrize("change", [add, remove, rename, replace])
def test_another_file_is_fetched_until_it_is_taken_back(tmp_path, change):
    folder, kept = Folder(tmp_path), tmp_path / "kept"
    before = folder.key
    shutil.copytree(folder.path, kept)
    change(folder)
    assert folder.key == folder.key != before
    shutil.rmtree(folder.path)
    kept.rename(folder.path)
    assert folder.key == before


def test_a_touched_file_is_read_once(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    touch(folder)
    before = folder.key
    monkeypatch.setattr("lemore.runtime.hashes.hash_file", None)
    assert folder.key == before


def test_archives_may_be_removed_but_not_replaced(tmp_path):
    folder = Folder(tmp_path, (Archive("a.zip", ()), Archive("b.zip", (), instead=("c.zip",))))
    shutil.rmtree(folder.path / "train")
    folder.write("a.zip", b"one")
    folder.write("c.zip", b"two")
    folder.fetch()
    before = folder.key
    (folder.path / "a.zip").unlink()
    assert folder.key == before
    folder.write("a.zip", b"one")
    assert folder.key == before
    folder.write("a.zip", b"eno")
    assert folder.key != before


def test_what_a_fetch_downloads_is_no_change(tmp_path):
    folder = Folder(tmp_path, (Archive("a.zip", ()),))
    shutil.rmtree(folder.path)
    folder.fetched.with_suffix(".hashes.json").unlink()
    asked, key = folder.key, folder.find().make_key()
    folder.write("a.zip", b"downloaded")
    hashes = hash_files(folder.path, stamp_files(folder.path, ["a.zip"]), {})
    placed.remember_fetched(folder.fetched, key, hashes)
    assert folder.key == asked


def test_a_folder_of_too_many_files_is_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(placed, "MOST", 3)
    folder = Folder(tmp_path)
    before = folder.key
    add(folder)
    folder.write("train/b.png", b"new")
    assert folder.key != before and folder.key == folder.find().make_key()
    folder.fetch()
    before = folder.key
    replace(folder)
    assert folder.key == before
    assert read_json(folder.fetched.with_suffix(".hashes.json"))["files"] == {}


@pytest.mark.slow
def test_twenty_thousand_files_take_seconds_at_most(tmp_path):
    folder = Folder(tmp_path)
    for i in range(20_000):
        folder.write(f"train/{i}.png", b"x")
    folder.fetch()
    before, begin = folder.key, time.monotonic()
    assert folder.key == before
    assert time.monotonic() - begin < 2
