"""`lemore score` on files as other programs write them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lemore import cli
from lemore.config import labels
from lemore.stages import score

KEYS = {"miou", "aacc", "macc", "fwiou", "iou", "acc", "confusion"}


def write(path: Path, values, mode: str | None = None) -> Path:
    """An 8-bit gray PNG, a palette one with mode "P", a 16-bit one from uint16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.array(values) if isinstance(values, np.ndarray) else np.array(values, np.uint8)
    image = Image.fromarray(array)
    if mode == "P":
        image.putpalette([value // 2 for value in range(256)] * 3)
        assert image.mode == "P"
    image.save(path)
    return path


def run(folder: Path, *options: str, expect: int = 0) -> dict:
    out = folder / "out" / "score.json"
    arguments = ["--predictions", f"{folder}/p", "--labels", f"{folder}/t", "--json", f"{out}"]
    assert cli.main(["score", *arguments, *options]) == expect
    return json.loads(out.read_text()) if out.exists() else {}


TRAIN_IDS = ("--num-classes", "3", "--ignore-index", "255")


@pytest.fixture
def pair(tmp_path):
    write(tmp_path / "t" / "a.png", [[0, 0, 1, 1], [2, 2, 255, 255]])
    write(tmp_path / "p" / "a.png", [[0, 1, 1, 1], [2, 9, 0, 255]])
    return tmp_path


def test_train_ids(pair, capsys):
    found = run(pair, *TRAIN_IDS)
    assert found.keys() == KEYS
    assert found["confusion"] == [[1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 1, 1]]
    assert found["iou"] == pytest.approx([1 / 2, 2 / 3, 1 / 2])
    assert found["acc"] == pytest.approx([1 / 2, 1, 1 / 2])
    assert found["miou"] == pytest.approx(5 / 9) and found["aacc"] == pytest.approx(4 / 6)
    assert found["macc"] == pytest.approx(2 / 3) and found["fwiou"] == pytest.approx(5 / 9)
    table = capsys.readouterr().out
    assert "66.67" in table and "1 images: miou 55.56" in table


def test_absent_class_is_null(pair):
    found = run(pair, "--num-classes", "4", "--ignore-index", "255")
    assert found["iou"][3] is None and found["acc"][3] is None
    assert found["miou"] == pytest.approx(5 / 9)


def test_another_ignore_index(tmp_path):
    write(tmp_path / "t" / "a.png", [[0, 7, 1]])
    write(tmp_path / "p" / "a.png", [[0, 1, 1]])
    found = run(tmp_path, "--num-classes", "2", "--ignore-index", "7")
    assert found["confusion"] == [[1, 0, 0], [0, 1, 0]]


def test_palette_and_16_bit_are_read_as_indices(pair):
    expected = run(pair, *TRAIN_IDS)
    write(pair / "t" / "a.png", [[0, 0, 1, 1], [2, 2, 255, 255]], mode="P")
    wide = np.array([[0, 1, 1, 1], [2, 60000, 0, 255]], np.uint16)
    write(pair / "p" / "a.png", wide)
    assert score.read_values(pair / "t" / "a.png").tolist()[0] == [0, 0, 1, 1]
    assert score.read_values(pair / "p" / "a.png").tolist() == wide.tolist()
    assert run(pair, *TRAIN_IDS) == expected


def test_small_palettes_are_read_as_indices(tmp_path):
    for bits in (1, 2, 4):
        values = np.arange(2**bits, dtype=np.uint8)[None]
        image = Image.fromarray(values)
        image.putpalette(list(range(3 * 2**bits)))
        image.save(tmp_path / "small.png", bits=bits)
        assert (tmp_path / "small.png").read_bytes()[24] == bits
        np.testing.assert_array_equal(score.read_values(tmp_path / "small.png"), values)


def test_pairs_are_by_name_in_any_folder(pair):
    expected = run(pair, *TRAIN_IDS)
    write(pair / "t" / "berlin" / "a.png", [[0, 0, 1, 1], [2, 2, 255, 255]])
    (pair / "t" / "a.png").unlink()
    (pair / "t" / "note.txt").write_text("not a label")
    assert run(pair, *TRAIN_IDS) == expected


# --- raw codings of the benchmarks


def config(folder: Path, table: str, num_classes: int) -> list[str]:
    path = folder / f"{table}.yaml"
    path.write_text(
        f"title: t\ntask: segmentation\nreader: r\nlabels: {table}\nnum_classes: {num_classes}\n"
        "stands_for: null\nscenes: null\narchives: [{file: a.zip, urls: []}]\nlicence: l\n"
        "splits: {validation: 1}\n"
    )
    return ["--dataset", table, "--dataset-config", str(path)]


# Raw values with their train ids as the benchmarks publish them; None is ignored.
CODINGS = [
    ("ade20k", 150, {1: 0, 2: 1, 150: 149, 0: None}),
    ("cityscapes", 19, {7: 0, 8: 1, 33: 18, 11: 2, 31: 16, 0: None, 29: None}),
    ("coco_stuff_10k", 171, {1: 0, 11: 10, 13: 11, 182: 170, 0: None}),
    ("pascal_context_59", 59, {1: 0, 59: 58, 0: None}),
    ("pascal_context_60", 60, {0: 0, 59: 59}),
]


@pytest.mark.parametrize(("table", "num_classes", "values"), CODINGS)
def test_raw_codings(tmp_path, table, num_classes, values):
    write(tmp_path / "t" / "a.png", [list(values)])
    write(tmp_path / "p" / "a.png", [list(values)])
    found = run(tmp_path, *config(tmp_path, table, num_classes))
    matrix = np.array(found["confusion"])
    assert matrix.shape == (num_classes, num_classes + 1)
    classes = [train_id for train_id in values.values() if train_id is not None]
    assert matrix.sum() == len(classes) and all(matrix[k, k] == 1 for k in classes)
    assert found["miou"] == 1.0


def test_ignored_and_undeclared_predictions_are_wrong(tmp_path):
    write(tmp_path / "t" / "a.png", [[1, 1, 1, 2, 0]])
    write(tmp_path / "p" / "a.png", [[1, 0, 200, 2, 0]])
    found = run(tmp_path, *config(tmp_path, "ade20k", 150))
    assert found["confusion"][0][0] == 1 and found["confusion"][0][-1] == 2
    assert found["iou"][:2] == pytest.approx([1 / 3, 1.0])


@pytest.mark.parametrize(("table", "num_classes", "value"), [("ade20k", 150, 151),
                         ("coco_stuff_10k", 171, 12), ("cityscapes", 19, 34)])  # fmt: skip
def test_undeclared_raw_label_is_refused(tmp_path, capsys, table, num_classes, value):
    write(tmp_path / "t" / "bad.png", [[1, value]])
    write(tmp_path / "p" / "bad.png", [[1, 1]])
    assert run(tmp_path, *config(tmp_path, table, num_classes), expect=2) == {}
    error = capsys.readouterr().err
    assert f"t/bad.png: label value {value} is neither a class nor ignored" in error


def test_tables_are_complete():
    for table, num_classes, values in CODINGS:
        lut = labels.load(table).lut
        assert len(labels.load(table).names) == num_classes
        assert all(lut[raw] == (255 if k is None else k) for raw, k in values.items())


@pytest.mark.parametrize("name", [table for table, _, _ in CODINGS])
def test_datasets_of_the_project(tmp_path, name):
    values = next(values for table, _, values in CODINGS if table == name)
    write(tmp_path / "t" / "a.png", [list(values)])
    write(tmp_path / "p" / "a.png", [list(values)])
    from_file = run(tmp_path, *config(tmp_path, name, len(labels.load(name).names)))
    assert run(tmp_path, "--dataset", name) == from_file


def test_classification_has_no_label_images(pair, capsys):
    run(pair, "--dataset", "imagenet_1k", expect=2)
    assert "not one of segmentation" in capsys.readouterr().err


def test_unknown_dataset_is_named(pair, capsys):
    assert run(pair, "--dataset", "ade20", expect=2) == {}
    assert "no dataset 'ade20'" in capsys.readouterr().err


# --- mistakes: one line, exit code 2, the file named


def test_undeclared_label_value(pair, capsys):
    write(pair / "t" / "a.png", [[0, 0, 1, 1], [2, 2, 3, 254]])
    run(pair, *TRAIN_IDS, expect=2)
    assert "t/a.png: label value 3, 254 is neither a class" in capsys.readouterr().err


def test_sizes_differ(pair, capsys):
    write(pair / "p" / "a.png", [[0, 1, 1]])
    run(pair, *TRAIN_IDS, expect=2)
    error = capsys.readouterr().err
    assert "p/a.png: is 1 x 3" in error and "t/a.png is 2 x 4" in error


@pytest.mark.parametrize(("extra", "other"), [("t", "p"), ("p", "t")])
def test_missing_partner(pair, capsys, extra, other):
    write(pair / extra / "b.png", [[0]])
    run(pair, *TRAIN_IDS, expect=2)
    error = capsys.readouterr().err
    assert f"{extra}/b.png: no file 'b.png' in {pair}/{other}; where names differ" in error


def test_patterns_pair_what_is_named_differently(tmp_path, capsys):
    """As Cityscapes has it, with other files beside the labels."""
    for name, label in (("aachen_1", [[7, 8]]), ("bonn_2", [[8, 8]])):
        city = tmp_path / "t" / name.split("_")[0]
        write(city / f"{name}_gtFine_labelIds.png", label)
        write(city / f"{name}_gtFine_instanceIds.png", [[99, 99]])
        write(tmp_path / "p" / f"{name}_leftImg8bit.png", [[7, 8]])
    patterns = ["--labels-pattern", "{name}_gtFine_labelIds.png"]
    run(tmp_path, "--dataset", "cityscapes", *patterns, expect=2)
    error = capsys.readouterr().err
    assert "aachen_1_gtFine_labelIds.png: no file 'aachen_1.png' in" in error
    assert "give --predictions-pattern" in error and len(error.splitlines()) == 1
    patterns += ["--predictions-pattern", "{name}_leftImg8bit.png"]
    found = run(tmp_path, "--dataset", "cityscapes", *patterns)
    assert found["confusion"][0][:2] == [1, 0] and found["confusion"][1][:2] == [1, 2]
    with pytest.raises(SystemExit):
        run(tmp_path, "--dataset", "cityscapes", "--labels-pattern", "*_labelIds.png")
    assert "'*_labelIds.png', expected a file's name with {name} in it once" in (
        capsys.readouterr().err
    )


def test_same_name_twice(pair, capsys):
    write(pair / "t" / "sub" / "a.png", [[0]])
    run(pair, *TRAIN_IDS, expect=2)
    assert "same name" in capsys.readouterr().err


def test_missing_and_empty_folders(tmp_path, capsys):
    (tmp_path / "p").mkdir()
    run(tmp_path, *TRAIN_IDS, expect=2)
    assert "no PNG file" in capsys.readouterr().err
    (tmp_path / "p").rmdir()
    run(tmp_path, *TRAIN_IDS, expect=2)
    assert "no such folder" in capsys.readouterr().err


def broken_png(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def text(path: Path) -> None:
    path.write_text("<html>this is not an image</html>")


def colours(path: Path) -> None:
    Image.new("RGB", (4, 2)).save(path)


def one_bit(path: Path) -> None:
    Image.new("1", (4, 2)).save(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(broken_png, "is a damaged or cut PNG"), (text, "is not a PNG"),
     (colours, "is a RGB image of 8 bits"), (one_bit, "is a gray image of 1 bits")],
)  # fmt: skip
def test_unusable_files(pair, capsys, spoil, message):
    spoil(pair / "p" / "a.png")
    run(pair, *TRAIN_IDS, expect=2)
    assert f"p/a.png: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [("--num-classes", "3"), ("--dataset", "ade20k", "--ignore-index", "255"),
     ("--num-classes", "0", "--ignore-index", "255"),
     ("--num-classes", "300", "--ignore-index", "255")],
)  # fmt: skip
def test_options_that_do_not_fit(pair, options):
    run(pair, *options, expect=2)
