"""Photos, names and lists of a user's own folders: what is taken, and what is said of the rest."""

import json
import shutil
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image

from lemore.cli import main
from lemore.data.archives.images import turn
from lemore.data.prepare.journal import Journal
from lemore.runtime.files import read_json
from tests.own_folders import BINARY, COLOR, INDEX, SIZE, SPLITS, Own, encode, label, photo

JPG = {"images": "{split}/img/{name}.jpg"}
LISTS = {
    "images": "img/{name}.png", "masks": "mask/{name}.png", "mask": "index",
    "lists": {"train": "train.txt", "val": "val.txt"},
}  # fmt: skip
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))


def fill_flat(own: Own, names: str, lists: dict[str, str | bytes]) -> None:
    for name in names:
        own.put(f"img/{name}.png", encode(photo(name)))
        own.put(f"mask/{name}.png", encode(label()))
    for file, text in lists.items():
        own.put(file, text)


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


def test_faults_within_the_limit_pass_the_dry_run_too(tmp_path, caplog, capsys):
    own = Own(tmp_path, changes={"quarantine_limit": 2})
    own.fill()
    own.put("val/img/b.png", b"")
    own.put("train/img/c.png", encode(photo("c")))
    outcome = own.prepare(caplog, capsys)
    assert outcome.names() == ["a", "b"] and outcome.names("val") == ["a"]
    assert sum("left out" in text for text in outcome.warnings) == 2


# --- EXIF: (orientation of the photo, of the mask, files.exif, the outcome)

ROWS = [
    (1, 1, None, "shown"),
    (3, 1, None, "refused"),
    (6, 1, None, "refused"),
    (6, 6, None, "shown"),
    (3, 3, None, "shown"),
    (1, 3, None, "refused"),
    (1, 8, None, "refused"),
    (6, 8, None, "refused"),
    (3, 1, "shown", "shown"),
    (3, 1, "stored", "stored"),
    (6, 1, "stored", "stored"),
    (6, 6, "stored", "stored"),
    (1, 3, "stored", "stored"),
    (1, 2, "shown", "shown"),
    (6, 1, "shown", "refused"),
    (7, 5, "shown", "shown"),
    (8, 7, "stored", "stored"),
]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("turned", "own_turn", "said", "expected"), ROWS)
def test_one_rule_for_photos_and_masks(
    tmp_path, caplog, capsys, kind, turned, own_turn, said, expected
):
    files = INDEX | {"images": "{split}/img/{name}.x"} | ({"exif": said} if said else {})
    own = Own(tmp_path, files)
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98}}.get(kind, {})
    own.fill(
        lambda seed: encode(photo(seed), kind, turned, **lossless),
        lambda: encode(label(), "PNG", own_turn),
    )
    outcome = own.prepare(caplog, capsys)
    if expected == "refused":
        assert outcome.code == 2
        assert "files.exif" in outcome.error or (said and "(24, 32)" in outcome.error)
        return
    image, mask = photo("traina"), label()
    if expected == "shown":
        image, mask = turn(image, turned), turn(mask, own_turn)
    found, found_mask = outcome.store().read(0)
    assert (found_mask == mask).all() and found.shape == image.shape
    assert np.abs(found.astype(int) - image).mean() < (4 if kind == "JPEG" else 0.01)


@pytest.mark.parametrize(
    ("files", "mask"),
    [
        (COLOR, lambda n: encode(np.dstack([label() * 255] * 3), "PNG", n)),
        (BINARY, lambda n: encode(label() * 255, "PNG", n)),
        (BINARY | {"masks": "{split}/mask/{name}.jpg"}, lambda n: encode(label() * 255, "JPEG", n)),
        (INDEX | {"masks": "{split}/mask/{name}.tif"}, lambda n: encode(label(), "TIFF", n)),
    ],
)
@pytest.mark.parametrize("said", ["shown", "stored"])
def test_the_rule_holds_for_every_kind_of_mask(tmp_path, caplog, capsys, files, mask, said):
    own = Own(tmp_path, files | {"exif": said})
    own.fill(lambda seed: encode(photo(seed), "PNG", 6), lambda: mask(6))
    expected = turn(label(), 6) if said == "shown" else label()
    assert (own.prepare(caplog, capsys).store().read_label(0) == expected).all()


@pytest.mark.parametrize("said", [None, "shown", "stored"])
def test_the_rule_holds_for_polygons(tmp_path, caplog, capsys, said):
    """A polygon over the upper quarter of what is shown, or of what is stored."""
    files = INDEX | {"masks": "{split}/mask/{name}.txt", "mask": "yolo", "unlabelled": "ground"}
    own = Own(tmp_path, files | ({"exif": said} if said else {}))
    own.fill(lambda seed: encode(photo(seed), "JPEG", 6), lambda: b"1 0 0 1 0 1 0.25 0 0.25")
    outcome = own.prepare(caplog, capsys)
    if said is None:
        assert outcome.code == 2 and "say `files.exif: shown` if polygons" in outcome.error
        return
    found = outcome.store().read_label(0)
    assert found.shape == (SIZE if said == "stored" else SIZE[::-1])
    assert found[: len(found) // 4].all() and not found[len(found) // 2 :].any()


def test_sizes_that_leave_no_doubt_need_no_key(tmp_path, caplog, capsys):
    own = Own(tmp_path, INDEX | JPG)
    own.fill(
        lambda seed: encode(photo(seed), "JPEG", 6),
        lambda: encode(np.ascontiguousarray(turn(label(), 6))),
    )
    assert own.prepare(caplog, capsys).store().get_size(0) == SIZE[::-1]


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
    fill_flat(own, "ab", {f"{names[1]}.txt": f"{names[1]}\nb\n", "val.txt": "a\n"})
    own.put(f"img/{names[0]}.png", encode(photo("m")))
    own.put(f"mask/{names[1]}.png", encode(label()))
    store = own.prepare(caplog, capsys).store()
    assert store.find(COMPOSED) == store.find(DECOMPOSED) == 0
    assert (store.read_image(0) == photo("m")).all() and store.name(0) == COMPOSED


def test_two_files_that_look_the_same(tmp_path, caplog, capsys):
    own = Own(tmp_path, names=("a", COMPOSED, DECOMPOSED))
    own.fill()
    assert "differ in their Unicode form alone" in own.prepare(caplog, capsys).error


# --- lists


@pytest.mark.parametrize(
    "text",
    [
        "a\nb\n",
        "a\r\nb\r\n\r\n",
        "\ufeffa\nb",
        " a \nb",
        "a.png\nb.png\n",
        "img/a.png\nimg/b.png",
        "./img/a.png\n./img/b.png\n",
        "img\\a.png\r\nimg\\b.png\r\n",
        "a\nb\na\n",
    ],
)
def test_lists_as_tools_write_them(tmp_path, caplog, capsys, text):
    own = Own(tmp_path, LISTS)
    fill_flat(own, "abc", {"train.txt": text, "val.txt": "c"})
    own.put("old/train.txt", "c")
    outcome = own.prepare(caplog, capsys)
    assert outcome.names() == ["a", "b"] and outcome.names("val") == ["c"]


@pytest.mark.parametrize("text", ["a\nä".encode("latin-1"), "a\nb".encode("utf-16"), b"a\n\xff"])
def test_lists_in_other_encodings_are_named(tmp_path, caplog, capsys, text):
    own = Own(tmp_path, LISTS)
    fill_flat(own, "abc", {"train.txt": text, "val.txt": "c"})
    assert "train.txt: is not text in UTF-8" in own.prepare(caplog, capsys).error


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_list_is_an_empty_split(tmp_path, caplog, capsys, text):
    own = Own(tmp_path, LISTS)
    fill_flat(own, "ab", {"train.txt": "a\nb", "val.txt": text})
    assert "split 'val' is empty" in own.prepare(caplog, capsys).error


def test_an_empty_drawn_split(tmp_path, caplog, capsys):
    draw = {"seed": 0, "shares": {"train": 0.99, "val": 0.01}}
    own = Own(tmp_path, {k: v for k, v in LISTS.items() if k != "lists"} | {"draw": draw})
    fill_flat(own, "abc", {})
    error = own.prepare(caplog, capsys).error
    assert "split 'val' is empty" in error and "files.draw.seed" in error
    assert own.prepare(caplog, capsys, "--allow-partial").code == 2


def test_coco_files_are_used_and_named_in_one_form_of_unicode(tmp_path, caplog, capsys):
    files = {"images": "img/{name}.png", "masks": "{split}.json", "mask": "coco"}
    own = Own(tmp_path, files | {"unlabelled": "ground"})
    for split in SPLITS:
        own.put(f"img/{split}{DECOMPOSED}.png", encode(photo(split)))
        image = {"id": 1, "file_name": f"{split}{COMPOSED}.png", "height": 24, "width": 32}
        runs = {"size": SIZE, "counts": [24, 24 * 8, 24 * 23]}  # eight columns
        box = {"id": 1, "image_id": 1, "category_id": 7, "segmentation": runs}
        thing = {"id": 7, "name": "thing"}
        content = {"images": [image], "annotations": [box], "categories": [thing]}
        own.put(f"{split}.json", json.dumps(content))
    outcome = own.prepare(caplog, capsys)
    assert outcome.names() == [f"train{COMPOSED}"] and outcome.warnings == []
    assert read_json(outcome.output / "audit.json")["unused"]["count"] == 0


# --- leaks


@pytest.mark.parametrize(
    ("train", "val", "copied", "words"),
    [
        ("a\nb\nc", "c\nd", {}, "1 photos are in more than one split"),
        ("a\nb", "c\nd", {"a": "d"}, "train/a = val/d"),
        ("a\nb\nc", "d", {"a": "b"}, "1 groups of identical photos within a split"),
    ],
)
def test_leaks_are_warnings_of_their_own(tmp_path, caplog, capsys, train, val, copied, words):
    own = Own(tmp_path, LISTS)
    fill_flat(own, "abcd", {"train.txt": train, "val.txt": val})
    for name, source in copied.items():
        own.put(f"img/{name}.png", (own.data / f"img/{source}.png").read_bytes())
    (warning,) = own.prepare(caplog, capsys).warnings
    assert words in warning


# --- the YAML


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_yaml_in_utf_8(tmp_path, caplog, capsys, encoding):
    own = Own(tmp_path, changes={"title": "Süßwasser"})
    own.fill()
    own.describe()
    own.config.write_text(own.config.read_text("utf-8"), encoding)
    assert own.prepare(caplog, capsys).code == 0


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_yaml_in_another_encoding_is_named(tmp_path, caplog, capsys, encoding):
    own = Own(tmp_path, changes={"title": "Süßwasser"})
    own.fill()
    own.describe()
    own.config.write_text(own.config.read_text("utf-8"), encoding)
    assert "own.yaml: is not text in UTF-8" in own.prepare(caplog, capsys).error


# --- a preparation that was interrupted


@pytest.mark.parametrize("change", ["none", "added", "removed", "replaced"])
def test_it_goes_on_with_the_list_that_it_began_with_alone(
    tmp_path, caplog, capsys, monkeypatch, change
):
    own = Own(tmp_path, names=tuple("bcde"))
    own.fill()
    with monkeypatch.context() as patch:
        add, done = Journal.add, []

        def add_three(journal, sample):
            if len(done) == 3:
                raise KeyboardInterrupt
            done.append(sample.name)
            return add(journal, sample)

        patch.setattr("lemore.data.prepare.journal.PERIOD", 0.0)
        patch.setattr(Journal, "add", add_three)
        with pytest.raises(AssertionError):  # the dry run ends well, prepare is interrupted
            own.prepare(caplog, capsys)
    if change == "added":
        own.put("train/img/a.png", encode(photo("new")))
        own.put("train/mask/a.png", encode(label()))
    if change == "removed":
        (own.data / "train/img/b.png").unlink()
        (own.data / "train/mask/b.png").unlink()
    if change == "replaced":
        plain = (own.data / "train/mask/b.png").read_bytes()
        own.put("train/mask/b.png", encode(label()[:, ::-1]).ljust(len(plain), b"\0"))
    outcome = own.prepare(caplog, capsys)
    names = {"added": "abcde", "removed": "cde"}.get(change, "bcde")
    assert "".join(outcome.names()) == names
    assert any("starts anew" in text for text in outcome.warnings) == (change != "none")
    if change == "replaced":
        assert (outcome.store().read_label(0) == label()[:, ::-1]).all()


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
