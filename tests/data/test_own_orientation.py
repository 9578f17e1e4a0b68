"""EXIF orientations in a user's own folders: one rule for photos and every kind of mask."""

import numpy as np
import pytest

from lemore.data.archives.images import turn
from tests.own_folders import BINARY, COLOR, INDEX, SIZE, Own, encode, label, photo

JPG = {"images": "{split}/img/{name}.jpg"}
# orientation of the photo, of the mask, files.exif, the outcome
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
        assert outcome.code == 2 and "say `files.exif: shown` if polygons or" in outcome.error
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
