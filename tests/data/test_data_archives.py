"""Hostile, cut and damaged archives are refused by name; sound ones are read in place."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from lemore.data.archives.members import list_members, list_tar_members
from lemore.data.archives.source import Source


def make_zip(path: Path, names: list[str], mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, b"content of " + name.encode())
    return path


def make_tar(path: Path, entries: list[tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w") as archive:
        for entry in entries:
            archive.addfile(entry, io.BytesIO(b"x" * entry.size))
    return path


def info(name: str, size: int = 3, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname = size, kind, "/etc/passwd"
    return entry


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "C:/evil", "a\\evil"])
def test_zip_path_that_escapes(tmp_path, name):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("x")
        entry.filename = name  # the constructor would tidy it
        archive.writestr(entry, b"x")
    with pytest.raises(ValueError, match="evil"):
        list(list_members(path))


def test_zip_with_link_and_with_a_name_twice(tmp_path):
    with pytest.raises(ValueError, match=r"'link' is a link"):
        list(list_members(make_zip(tmp_path / "a.zip", ["link"], 0o120777)))
    with pytest.warns(UserWarning, match="Duplicate"):
        path = make_zip(tmp_path / "b.zip", ["same", "same"])
    with pytest.raises(ValueError, match="'same' occurs twice"):
        list(list_members(path))


def test_zip_bomb(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.bin", bytes(8 << 20))
    with pytest.raises(ValueError, match=r"zeros\.bin.*unpacks to 8388608 bytes"):
        list(list_members(tmp_path / "a.zip"))


def test_cut_zip_and_damaged_member(tmp_path):
    path = make_zip(tmp_path / "a.zip", ["one", "two"])
    whole = path.read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.zip: not a whole zip"):
        list(list_members(tmp_path / "cut.zip"))
    (tmp_path / "bad.zip").write_bytes(whole.replace(b"content of one", b"content of 0ne"))
    with pytest.raises(ValueError, match="one: damaged"):
        next(iter(list_members(tmp_path / "bad.zip"))).read()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_tar_with_link_or_device(tmp_path, kind):
    path = make_tar(tmp_path / "a.tar", [info("good"), info("bad", 0, kind)])
    with pytest.raises(ValueError, match="'bad' is a link or device"):
        list(list_members(path))


def test_tar_path_that_escapes(tmp_path):
    with pytest.raises(ValueError, match="climbs out"):
        list(list_members(make_tar(tmp_path / "a.tar", [info("x/../../evil")])))


@pytest.mark.parametrize("keep", [700, 1024 + 10, 2048])
def test_cut_tar(tmp_path, keep):
    path = make_tar(tmp_path / "a.tar", [info("one", 600), info("two", 600)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="not a whole tar"):
        list(list_members(path))


def test_tar_within_a_tar_is_read_in_place(tmp_path):
    inner = make_tar(tmp_path / "inner.tar", [info("photo", 1000)]).read_bytes()
    with tarfile.open(tmp_path / "outer.tar", "w") as archive:
        for name in ("a.tar", "b.tar"):
            entry = tarfile.TarInfo(name)
            entry.size = len(inner)
            archive.addfile(entry, io.BytesIO(inner))
    for tar in list_members(tmp_path / "outer.tar"):
        found = list(list_tar_members(tmp_path / "outer.tar", tar.offset, tar.size))
        assert [member.name for member in found] == ["photo"]
        assert found[0].read() == b"x" * 1000


def test_packed_tar(tmp_path):
    tar = make_tar(tmp_path / "a.tar", [info("data/one", 5)]).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar))
    (found,) = list_members(tmp_path / "a.tar.gz")
    assert (found.name, found.read()) == ("data/one", b"xxxxx")


def test_source_finds_files_below_any_root_and_refuses_ambiguity(tmp_path):
    folder = tmp_path / "deep/top/images/val"
    folder.mkdir(parents=True)
    (folder / "x.jpg").write_bytes(b"1")
    (tmp_path / "images_val.jpg").write_bytes(b"2")
    assert list(Source((tmp_path,)).match(r"images/val/(.+)\.jpg")) == ["x"]
    other = tmp_path / "copy/images/val"
    other.mkdir(parents=True)
    (other / "x.jpg").write_bytes(b"1")
    with pytest.raises(ValueError, match="two files for 'x'"):
        Source((tmp_path,)).match(r"images/val/(.+)\.jpg")
