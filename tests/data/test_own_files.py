"""Photos and names of a user's own folders: what is taken, and what is said of the rest."""

import shutil
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from lemore.cli import main
from tests.own_folders import (
    BINARY,
    COLOR,
    COMPOSED,
    DECOMPOSED,
    INDEX,
    LISTS,
    SPLITS,
    Own,
    encode,
    label,
    photo,
)

JPG = {"images": "{split}/img/{name}.jpg"}
# --- photos


@pytest.mark.parametrize(
    ("kind", "suffix", "options"),
    [
        ("PNG", "png", {}),
        ("BMP", "bmp", {}),
        ("TIFF", "tif", {}),
        ("TIFF", "tiff", {"compression": "tiff_lzw"}),
        ("WEBP", "webp", {"lossless": True}),
        ("JPEG", "jpeg", {"quality": 95}),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_photos_of_every_kind_that_predict_reads(
    tmp_path, caplog, capsys, kind, suffix, options, large
):
    """`large`: a plain photo, which the store keeps as a file rather than as pixels."""
    picture = np.full((240, 320, 3), 90, np.uint8) if large else photo("x")
    mask = np.kron(label(), np.ones((10, 10), np.uint8)) if large else label()
    own = Own(tmp_path, INDEX | {"images": f"{{split}}/img/{{name}}.{suffix}"}, names=("a",))
    own.fill(lambda _: encode(picture, kind, **options), lambda: encode(mask))
    store = own.prepare(caplog, capsys).store()
    difference = np.abs(store.read_image(0).astype(int) - picture)
    assert difference.mean() < 4 if kind == "JPEG" else (difference == 0).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "run `git lfs pull`"),
        (b"GIF89a" + bytes(50), "is not a whole JPEG, PNG, WebP, BMP or TIFF file"),
        (b"\0\0\0\x18ftypheic", "HEIC or AVIF, which must be converted"),
        (encode(photo("x"), "BMP")[:900], "cannot be decoded"),
        (encode(photo("x"), "WEBP")[:90], "is not a whole"),
        (encode(photo("x"), "TIFF")[:900], "cannot be decoded"),
        (encode(photo("x")[..., 0].astype(np.float32), "TIFF"), "cannot be decoded"),
    ],
)
def test_photos_that_cannot_be_read_are_named(tmp_path, caplog, capsys, content, words):
    own = Own(tmp_path)
    own.fill()
    own.put("val/img/b.png", content)
    outcome = own.prepare(caplog, capsys)
    assert outcome.code == 2 and "val/img/b.png" in outcome.error and words in outcome.error


def test_photos_of_12_bits_in_16_are_named(tmp_path, caplog, capsys):
    own = Own(tmp_path)
    own.fill()
    deep = photo("x").astype(np.uint16) * 16
    own.put("train/img/b.png", cv2.imencode(".png", deep)[1].tobytes())
    (warning,) = own.prepare(caplog, capsys).warnings
    assert "split 'train': 1 photos are nearly black" in warning and "such as b" in warning


def test_a_split_of_faults_alone_is_empty(tmp_path, caplog, capsys):
    own = Own(tmp_path, changes={"quarantine_limit": 2})
    own.fill()
    for name in own.names:
        own.put(f"val/img/{name}.png", b"")
    assert "split 'val' is empty" in own.prepare(caplog, capsys).error


def test_faults_within_the_limit_pass_the_dry_run_too(tmp_path, caplog, capsys):
    own = Own(tmp_path, changes={"quarantine_limit": 2})
    own.fill()
    own.put("val/img/b.png", b"")
    own.put("train/img/c.png", encode(photo("c")))
    outcome = own.prepare(caplog, capsys)
    assert outcome.names() == ["a", "b"] and outcome.names("val") == ["a"]
    assert sum("left out" in text for text in outcome.warnings) == 2


# --- which files are taken


def test_extensions_in_any_case(tmp_path, caplog, capsys):
    own = Own(tmp_path, INDEX | JPG)
    own.fill(lambda seed: encode(photo(seed), "JPEG"))
    own.put("train/img/c.JPG", encode(photo("c"), "JPEG"))
    own.put("train/mask/c.Png", encode(label()))
    outcome = own.prepare(caplog, capsys)
    assert outcome.names() == ["a", "b", "c"] and outcome.warnings == []
    own.put("train/img/c.jpg", encode(photo("d"), "JPEG"))
    assert "c.JPG and" in own.prepare(caplog, capsys).error


JUNK = [
    "train/img/Thumbs.db",
    "train/img/.DS_Store",
    "train/img/._a.png",
    "train/mask/._a.png",
    "val/desktop.ini",
    "__MACOSX/train/img/a.png",
    "train/img/@eaDir/a.png",
    "train/img/.ipynb_checkpoints/a-checkpoint.png",
    ".git/index",
    "Icon\r",
]


@pytest.mark.parametrize("images", ["{split}/img/{name}.png", "{split}/img/{name}.*"])
def test_files_that_systems_leave_are_no_samples(tmp_path, caplog, capsys, images):
    own = Own(tmp_path, INDEX | {"images": "{split}/img/{name}.png"})
    own.fill()
    own.files["images"] = images
    for path in JUNK:
        own.put(path, b"left by a system")
    outcome = own.prepare(caplog, capsys)
    assert outcome.names() == ["a", "b"] and outcome.warnings == []


@pytest.mark.parametrize("folder", ["old", "data", "train/img/copy"])
def test_copies_in_subfolders_are_not_mixed_in_but_named(tmp_path, caplog, capsys, folder):
    own = Own(tmp_path)
    own.fill()
    for split in SPLITS:
        for name in "xy":
            own.put(f"{folder}/{split}/img/{name}.png", encode(photo(name)))
            own.put(f"{folder}/{split}/mask/{name}.png", encode(label()))
    outcome = own.prepare(caplog, capsys)
    assert outcome.names() == outcome.names("val") == ["a", "b"]
    assert [f"{folder}/train/img/x.png" in text for text in outcome.warnings] == [True]
    page = tmp_path / "page.html"
    assert main(["audit", "--data", str(outcome.output), "--output", str(page)]) == 0
    assert outcome.warnings[0].removeprefix("own: ") in page.read_text()
    assert f"<li>{folder}/val/mask/y.png</li>" in page.read_text()


def test_other_files_are_listed_without_a_warning(tmp_path, caplog, capsys):
    own = Own(tmp_path)
    own.fill()
    own.put("README.txt", "hello")
    outcome = own.prepare(caplog, capsys)
    assert outcome.warnings == []
    assert '"README.txt"' in (outcome.output / "audit.json").read_text()


def test_a_split_folder_that_the_yaml_does_not_name(tmp_path, caplog, capsys):
    own = Own(tmp_path)
    own.fill()
    own.put("test/img/a.png", encode(photo("t")))
    own.put("test/mask/a.png", encode(label()))
    (warning,) = own.prepare(caplog, capsys).warnings
    assert "2 image files are used by no split" in warning and "test/img/a.png" in warning


def test_a_dataset_one_folder_lower(tmp_path, caplog, capsys):
    own = Own(tmp_path)
    own.fill()
    shutil.move(own.data, tmp_path / "inner")
    shutil.move(tmp_path / "inner", own.data / "ponds")
    error = own.prepare(caplog, capsys).error
    assert "ponds/train/img/a.png' fits below 'ponds/'" in error


def test_links(tmp_path, caplog, capsys):
    own = Own(tmp_path)
    own.fill()
    shutil.move(own.data / "train/img", tmp_path / "elsewhere")
    (own.data / "train/img").symlink_to(tmp_path / "elsewhere")
    assert own.prepare(caplog, capsys).names() == ["a", "b"]
    for folder in ("img", "mask"):
        (own.data / f"train/{folder}/c.png").symlink_to(tmp_path / "not pulled.png")
    outcome = own.prepare(caplog, capsys)
    assert "c.png: is a link to a file that is not there" in outcome.error


@pytest.mark.parametrize("top", ["", "ponds/", "./", "exports/ponds/"])
def test_an_archive_may_have_a_folder_around_everything(tmp_path, caplog, capsys, top):
    own = Own(tmp_path / "made")
    own.fill()
    archives = tmp_path / "own"
    archives.mkdir()
    with zipfile.ZipFile(archives / "own.zip", "w") as file:
        for path in sorted(own.data.rglob("*.png")):
            file.write(path, top + path.relative_to(own.data).as_posix())
        file.writestr("__MACOSX/._a.png", b"x")
    own.folder = tmp_path
    own.changes = {"folder": None, "archives": [{"file": "own.zip", "urls": []}]}
    assert own.prepare(caplog, capsys).names() == ["a", "b"]


def test_a_sidecar_beside_a_loose_pattern_is_named(tmp_path, caplog, capsys):
    own = Own(tmp_path)
    own.fill()
    own.files["images"] = "{split}/img/{name}.*"
    own.put("train/img/a.json", "{}")
    error = own.prepare(caplog, capsys).error
    assert "two files for 'a'" in error and "a.json" in error and "a.png" in error


# --- names


@pytest.mark.parametrize("names", [(DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED)])
def test_names_are_compared_in_one_form_of_unicode(tmp_path, caplog, capsys, names):
    own = Own(tmp_path, LISTS | {"lists": {"train": f"{names[0]}.txt", "val": "val.txt"}})
    own.fill_flat("ab", {f"{names[1]}.txt": f"{names[1]}\nb\n", "val.txt": "a\n"})
    own.put(f"img/{names[0]}.png", encode(photo("m")))
    own.put(f"mask/{names[1]}.png", encode(label()))
    store = own.prepare(caplog, capsys).store()
    assert store.find(COMPOSED) == store.find(DECOMPOSED) == 0
    assert (store.read_image(0) == photo("m")).all() and store.name(0) == COMPOSED


def test_two_files_that_look_the_same(tmp_path, caplog, capsys):
    own = Own(tmp_path, names=("a", COMPOSED, DECOMPOSED))
    own.fill()
    assert "differ in their Unicode form alone" in own.prepare(caplog, capsys).error


# --- score


def write_masks(own: Own, file: str, make_mask) -> list[str]:
    own.describe()
    for folder in ("predictions", "labels"):
        own.put(f"{folder}/{file}", make_mask())
    options = ["--predictions", str(own.data / "predictions"), "--labels", str(own.data / "labels")]
    return ["score", *options, "--dataset", "own", "--dataset-config", str(own.config)]


@pytest.mark.parametrize(
    ("files", "mask"),
    [
        (INDEX, lambda: encode(label())),
        (INDEX, lambda: encode(Image.fromarray(label() > 0))),
        (BINARY, lambda: encode(label() * 255)),
        (COLOR, lambda: encode(np.dstack([label() * 255] * 3))),
    ],
)
def test_score_reads_the_masks_of_an_own_dataset(tmp_path, capsys, files, mask):
    command = write_masks(Own(tmp_path, files), f"{COMPOSED}.png", mask)
    (tmp_path / f"data/labels/{COMPOSED}.png").rename(tmp_path / f"data/labels/{DECOMPOSED}.png")
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "miou 100.00" in printed and "77" in printed and "thing" in printed
