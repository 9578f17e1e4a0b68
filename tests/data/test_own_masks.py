"""Masks of a user's own folders: no class vanishes in silence, numbers are never rescaled."""

import re

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.own_folders import BINARY, COLOR, INDEX, SIZE, Own, encode, label

RED = np.array([[0, 0, 0], [255, 0, 0]], np.uint8)
WHITE = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)


def with_alpha(colors: np.ndarray, alpha: np.ndarray) -> bytes:
    return encode(np.dstack([colors, alpha.astype(np.uint8)]))


def palette(*colors: int, **options) -> bytes:
    """The label as indices of a palette."""
    image = Image.fromarray(label(), "P")
    image.putpalette([*colors, *[7] * (768 - len(colors))])
    return encode(image, **options)


def deep(values: np.ndarray) -> bytes:
    return encode(values.astype(np.uint16))


def deep_colors() -> bytes:
    return cv2.imencode(".png", WHITE[label()].astype(np.uint16))[1].tobytes()


def pages() -> bytes:
    image = Image.fromarray(label())
    return encode(image, "TIFF", save_all=True, append_images=[image])


TIF = {"masks": "{split}/mask/{name}.tif"}
BMP = {"masks": "{split}/mask/{name}.bmp"}
JPG = {"masks": "{split}/mask/{name}.jpg"}
RED_CLASSES = {"classes": [{"name": "g", "color": [0, 0, 0]}, {"name": "t", "color": [255, 0, 0]}]}

REFUSED = [
    (
        "binary 0 and 1",
        BINARY,
        lambda: encode(label()),
        "'ground' at files.threshold 127; values found: 0, 1",
    ),
    ("binary in 16 bits", BINARY, lambda: deep(label() * 65535.0), "16 bits"),
    ("binary in red", BINARY, lambda: encode(RED[label()]), "is in colours"),
    (
        "binary in alpha",
        BINARY,
        lambda: with_alpha(np.zeros((*SIZE, 3), np.uint8), label() * 255),
        "alpha",
    ),
    (
        "binary inverted threshold",
        BINARY | {"threshold": 0},
        lambda: encode(label() * 0 + 9),
        "'thing' at",
    ),
    (
        "threshold of 255",
        BINARY | {"threshold": 255},
        lambda: encode(label() * 255),
        "files.threshold is 255",
    ),
    (
        "threshold of -5",
        BINARY | {"threshold": -5},
        lambda: encode(label() * 255),
        "files.threshold is -5",
    ),
    ("colours of 16 bits", COLOR, deep_colors, "16 bits"),
    ("index of 16 bits", INDEX, lambda: deep(label()), "16 bits"),
    (
        "index as numbers with a point",
        INDEX | TIF,
        lambda: encode(label().astype(np.float32), "TIFF"),
        "F image",
    ),
    (
        "index in a JPEG",
        INDEX | JPG,
        lambda: encode(label(), "JPEG"),
        "is a JPEG of a kind that changes",
    ),
    (
        "colours in a JPEG",
        COLOR | JPG,
        lambda: encode(WHITE[label()], "JPEG"),
        "changes the values",
    ),
    (
        "index in a TIFF packed as JPEG",
        INDEX | TIF,
        lambda: encode(label(), "TIFF", compression="jpeg"),
        "changes the values",
    ),
    ("TIFF of two pages", INDEX | TIF, pages, "several pages"),
    ("index in colours", INDEX, lambda: encode(RED[label()]), "is in colours"),
    (
        "white on transparent white",
        COLOR,
        lambda: with_alpha(WHITE[label() | 1], label() * 255),
        "alpha",
    ),
    (
        "one class only",
        INDEX,
        lambda: encode(label() * 0),
        "show only the class 'ground'; values found: 0",
    ),
    (
        "all ignored",
        INDEX | {"ignore": [255]},
        lambda: encode(label() * 0 + 255),
        "show no class; values found: 255",
    ),
    (
        "second class ignored",
        INDEX | {"ignore": [255]},
        lambda: encode(label() * 255),
        "values found: 0, 255",
    ),
    (
        "from one on",
        INDEX,
        lambda: encode(label() + 1),
        "they fit if 1 is subtracted: `values: [1]`",
    ),
    ("0 and 255", INDEX, lambda: encode(label() * 255), "say `mask: binary` and `threshold: 127`"),
    (
        "half the size",
        INDEX,
        lambda: encode(label()[::2, ::2]),
        "label is (12, 16), image (24, 32)",
    ),
    ("empty file", INDEX, lambda: b"", "is empty"),
    ("web page", INDEX, lambda: b"<!DOCTYPE html><html>", "is a web page"),
]


@pytest.mark.parametrize(
    ("files", "mask", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused_in_words(tmp_path, caplog, capsys, files, mask, words):
    own = Own(tmp_path, files)
    own.fill(make_mask=mask)
    outcome = own.prepare(caplog, capsys)
    assert outcome.code == 2 and words in outcome.error
    assert not outcome.output.exists()


ACCEPTED = [
    ("index in TIFF", INDEX | TIF, lambda: encode(label(), "TIFF")),
    ("index in packed TIFF", INDEX | TIF, lambda: encode(label(), "TIFF", compression="tiff_lzw")),
    ("index in BMP", INDEX | BMP, lambda: encode(label(), "BMP")),
    ("indices of a palette, BMP", INDEX | BMP, lambda: palette(1, 1, 1, 0, 0, 0, kind="BMP")),
    ("indices of a palette, TIFF", INDEX | TIF, lambda: palette(9, 9, 9, 8, 8, 8, kind="TIFF")),
    ("indices of a palette of 4 bits", INDEX, lambda: palette(9, 0, 9, 9, 9, 0, bits=4)),
    ("a transparent index", INDEX, lambda: palette(9, 0, 9, 9, 9, 0, transparency=0)),
    ("index in one bit", INDEX, lambda: encode(Image.fromarray(label() > 0))),
    ("index in one bit, BMP", INDEX | BMP, lambda: encode(Image.fromarray(label() > 0), "BMP")),
    ("gray saved as RGB", INDEX, lambda: encode(np.dstack([label()] * 3))),
    ("gray saved as RGBA", INDEX, lambda: with_alpha(np.dstack([label()] * 3), label() * 0 + 255)),
    ("gray with alpha", INDEX, lambda: encode(Image.fromarray(label()).convert("LA"))),
    ("colours of a palette", COLOR, lambda: palette(0, 0, 0, 255, 255, 255)),
    ("black transparent", COLOR, lambda: with_alpha(WHITE[label()], label() * 255)),
    ("colours in BMP", COLOR | BMP, lambda: encode(WHITE[label()], "BMP")),
    ("colours that are gray", COLOR, lambda: encode(label() * 255)),
    ("colours in one bit", COLOR, lambda: encode(Image.fromarray(label() > 0))),
    ("binary in a JPEG", BINARY | JPG, lambda: encode(label() * 255, "JPEG", quality=95)),
    (
        "binary in a JPEG of colours",
        BINARY | JPG,
        lambda: encode(WHITE[label()], "JPEG", quality=95),
    ),
    ("binary in one bit", BINARY, lambda: encode(Image.fromarray(label() > 0))),
    ("binary 0 and 1 at 0", BINARY | {"threshold": 0}, lambda: encode(label())),
]


@pytest.mark.parametrize(
    ("files", "mask"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED]
)
def test_read_as_it_is(tmp_path, caplog, capsys, files, mask):
    own = Own(tmp_path, files)
    own.fill(make_mask=mask)
    outcome = own.prepare(caplog, capsys)
    assert outcome.error == "" and outcome.warnings == []
    for split in ("train", "val"):
        assert (outcome.store(split).read_label(1) == label()).all()


def test_a_class_that_train_lacks_is_named(tmp_path, caplog, capsys):
    classes = [{"name": name} for name in ("ground", "thing", "reed")]
    own = Own(tmp_path, changes={"classes": classes, "num_classes": 3})
    own.fill()
    own.put("val/mask/b.png", encode(label() * 2))
    outcome = own.prepare(caplog, capsys)
    assert outcome.code == 0
    assert outcome.warnings == [
        "own: split 'train': 1 of 3 classes do not occur in it: reed",
    ]


def test_a_training_set_of_one_class_is_refused_though_val_has_both(tmp_path, caplog, capsys):
    own = Own(tmp_path)
    own.fill()
    for name in own.names:
        own.put(f"train/mask/{name}.png", encode(label() * 0))
    outcome = own.prepare(caplog, capsys)
    assert outcome.code == 2 and "split 'train' show only the class 'ground'" in outcome.error


def test_masks_on_one_side_of_the_threshold_are_named_with_their_values(tmp_path, caplog, capsys):
    own = Own(tmp_path, BINARY, names=("a", "b", "empty"))
    own.fill(make_mask=lambda: encode(label() * 255))
    own.put("train/mask/b.png", encode(label()))
    own.put("train/mask/empty.png", encode(label() * 0))
    outcome = own.prepare(caplog, capsys)
    assert outcome.warnings == [
        "own: split 'train': 1 masks hold several values, all on one side of files.threshold 127: "
        "b (0 to 1)"
    ]


def test_a_value_that_a_binary_mask_ignores(tmp_path, caplog, capsys):
    own = Own(tmp_path, BINARY | {"ignore": [128]})
    own.fill(make_mask=lambda: encode(np.array([0, 128], np.uint8)[label()]))
    own.put(
        "train/mask/a.png", encode(np.array([[0, 128, 255, 0]] * SIZE[0], np.uint8).repeat(8, 1))
    )
    found = own.prepare(caplog, capsys).store().read_label(0)
    assert found[0].reshape(4, 8).max(1).tolist() == [0, 255, 1, 0]


def test_the_dry_run_opens_more_masks_while_they_show_one_class(tmp_path, caplog, capsys):
    own = Own(tmp_path, names=tuple(f"{i:02d}" for i in range(30)))
    own.fill()
    for name in own.names:
        if name != "02":  # not among the 20 that are opened first
            own.put(f"train/mask/{name}.png", encode(label() * 0))
    assert own.prepare(caplog, capsys).code == 0


MISTAKES = [
    (
        {"classes": [{"name": "a", "color": [1, 1, 1]}, {"name": "b", "color": [1, 1, 1]}]},
        COLOR,
        r"\[1, 1, 1\] is given twice",
    ),
    ({}, COLOR | {"ignore": [[0, 0, 0]]}, r"\[0, 0, 0\] is given twice"),
    (
        {"classes": [{"name": "a"}, {"name": "b", "values": [3]}]},
        BINARY,
        "values are for index masks",
    ),
    ({}, INDEX | {"masks": "{split}/mask/{stem}.png"}, "words in braces beside"),
    (
        {},
        INDEX | {"images": "{split}/img/a.png", "masks": "{split}/a.png"},
        "words in braces beside",
    ),
    ({}, INDEX | {"split_folders": {"vall": "test"}}, "split 'vall' is not under splits"),
    (
        {},
        INDEX | {"images": "{name}.jpg", "masks": "{name}.png", "lists": {"train": "t.txt"}},
        "files.lists: nothing for split 'val'",
    ),
    ({}, INDEX | {"exif": "upright"}, "files.exif is 'upright', expected one of shown, stored"),
]


@pytest.mark.parametrize(("changes", "files", "words"), MISTAKES)
def test_descriptions_that_would_lose_a_class_or_a_split(
    tmp_path, caplog, capsys, changes, files, words
):
    own = Own(tmp_path, files, changes)
    outcome = own.prepare(caplog, capsys)
    assert outcome.code == 2
    assert re.search(words, outcome.error) and "own.yaml" in outcome.error
