"""Label tables against published numbers and against the shared tables they were made from."""

import csv

import numpy as np
import pytest

from lemore.config import labels
from lemore.data.readers.pascal_ids import SPARSE_IDS

CLASSES = {
    "ade20k": 150,
    "cityscapes": 19,
    "pascal_context_59": 59,
    "pascal_context_60": 60,
    "coco_stuff_10k": 171,
    "camvid": 11,
}
SHARED = {
    "ade20k": "ade20k",
    "cityscapes": "cityscapes",
    "pascal_context_59": "pascal_context59",
    "pascal_context_60": "pascal_context60",
    "coco_stuff_10k": "cocostuff10k",
    "camvid": "camvid",
}


@pytest.mark.parametrize(("name", "count"), CLASSES.items())
def test_number_of_classes(name, count):
    table = labels.load(name)
    assert len(table.names) == len(table.colors) == len(set(table.names)) == count
    assert [table.lut[raw] for raw in table.raw_ids] == list(range(count))


@pytest.mark.parametrize(("name", "shared"), SHARED.items())
def test_same_facts_as_the_sources(name, shared, samples):
    with open(samples / f"labels/{shared}.csv", newline="") as file:
        rows = {int(row["id"]): row for row in csv.DictReader(file)}
    table = labels.load(name)
    own = dict(zip(table.ids, table.train_ids, strict=True))
    assert {raw: own[raw] for raw in rows} == {raw: int(r["train_id"]) for raw, r in rows.items()}
    assert all(own[raw] == 255 for raw in own.keys() - rows.keys())
    for raw, row in rows.items():
        if own[raw] != 255:
            assert table.names[own[raw]] == row["name"]
            assert table.colors[own[raw]] == (int(row["r"]), int(row["g"]), int(row["b"]))


def test_cityscapes_ids_are_those_of_the_paper():
    trained = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert labels.load("cityscapes").raw_ids == trained


def test_coco_stuff_lacks_eleven_ids():
    table = labels.load("coco_stuff_10k")
    missing = sorted(set(range(183)) - set(table.ids))
    assert missing == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91]


def test_pascal_59_is_60_without_background():
    full, part = labels.load("pascal_context_60"), labels.load("pascal_context_59")
    assert full.names[1:] == part.names and full.names[0] == "background"
    assert part.lut[0] == 255 and full.lut[0] == 0
    assert part.lut[1:60] == [k - 1 for k in full.lut[1:60]]


def test_pascal_sparse_ids_equal_the_459_class_table(samples):
    with open(samples / "labels/pascal_context459_to_60.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = labels.load("pascal_context_60").names
    for row in rows:
        position = int(row["id_60"])
        if position:
            assert SPARSE_IDS[position] == int(row["id_459"])
            assert names[position] == row["name_60"]
    assert len(SPARSE_IDS) == 60 and (np.diff(SPARSE_IDS) > 0).all()


def test_reduce_zero_is_done_once():
    lut = labels.load("ade20k").lut
    assert [lut[raw] for raw in (0, 1, 2, 150)] == [255, 0, 1, 149]


def test_unknown_table_names_the_nearest():
    with pytest.raises(ValueError, match="ade20k"):
        labels.load("ade20")
