"""Lists, splits and text files of a user's own folders, and preparations that were interrupted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lemore.data.prepare.journal import Journal
from lemore.runtime.files import read_json
from tests.own_folders import (
    COMPOSED,
    DECOMPOSED,
    LISTS,
    SIZE,
    SPLITS,
    Own,
    encode,
    label,
    photo,
)

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
    own.fill_flat("abc", {"train.txt": text, "val.txt": "c"})
    own.put("old/train.txt", "c")
    outcome = own.prepare(caplog, capsys)
    assert outcome.names() == ["a", "b"] and outcome.names("val") == ["c"]


@pytest.mark.parametrize("text", ["a\nä".encode("latin-1"), "a\nb".encode("utf-16"), b"a\n\xff"])
def test_lists_in_other_encodings_are_named(tmp_path, caplog, capsys, text):
    own = Own(tmp_path, LISTS)
    own.fill_flat("abc", {"train.txt": text, "val.txt": "c"})
    assert "train.txt: is not text in UTF-8" in own.prepare(caplog, capsys).error


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_list_is_an_empty_split(tmp_path, caplog, capsys, text):
    own = Own(tmp_path, LISTS)
    own.fill_flat("ab", {"train.txt": "a\nb", "val.txt": text})
    assert "split 'val' is empty" in own.prepare(caplog, capsys).error


def test_an_empty_drawn_split(tmp_path, caplog, capsys):
    draw = {"seed": 0, "shares": {"train": 0.99, "val": 0.01}}
    own = Own(tmp_path, {k: v for k, v in LISTS.items() if k != "lists"} | {"draw": draw})
    own.fill_flat("abc", {})
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
        ("a\nb\nc\nd", "c\nd", {}, "2 photos are in more than one split"),
        ("a\nb\nc", "d", {"a": "b"}, "1 groups of identical photos within a split"),
    ],
)
def test_leaks_are_warnings_of_their_own(tmp_path, caplog, capsys, train, val, copied, words):
    own = Own(tmp_path, LISTS)
    own.fill_flat("abcd", {"train.txt": train, "val.txt": val})
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


ASK = """
from lemore.config.labels import load
from lemore.config.read import read_yaml
from lemore.runtime.files import read_json
print(ascii([read_yaml("own.yaml")["title"], read_json("own.json"), load("own").names]))
"""


def test_text_is_read_in_any_locale_with_or_without_a_mark(tmp_path):
    (tmp_path / "own.yaml").write_text("title: Süß\n", "utf-8-sig")
    (tmp_path / "own.json").write_text('"Süß"', "utf-8-sig")
    (tmp_path / "own.csv").write_text("id,train_id,name,r,g,b\n0,0,Süß,1,2,3\n", "utf-8-sig")
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2])}
    script = f"import lemore.config.labels as l, pathlib; l.FOLDER = pathlib.Path('.'){ASK}"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == ascii(["Süß", "Süß", ("Süß",)]) + "\n", done.stderr


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
