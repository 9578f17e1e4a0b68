"""Run lengths of COCO: by hand from the definition, and there and back."""

import numpy as np
import pytest

from lemore.data.readers import rle


def test_by_hand():
    # columns first: 0 0 | 1 1 | 1 0 -> runs 2 3 1, each one character: '0' + run
    mask = np.array([[0, 1, 1], [0, 1, 0]], bool)
    assert rle.encode(mask) == {"size": [2, 3], "counts": "231"}
    assert (rle.decode({"size": [2, 3], "counts": "231"}) == mask).all()
    assert (rle.decode({"size": [2, 3], "counts": [2, 3, 1]}) == mask).all()


def test_known_text_of_an_empty_full_hd_mask():
    # 2073600 = 9 * 2^10 + 31 * 2^15 + 1 * 2^20: groups 0 0 9 31 1, all but the last + 32
    assert rle.encode(np.zeros((1080, 1920), bool))["counts"] == "PPYo1"


def test_differences_from_the_fourth_count_on():
    # runs 1 2 3 4 5: the fourth is written 4 - 2 = 2, the fifth 5 - 3 = 2
    mask = np.repeat([0, 1, 0, 1, 0], [1, 2, 3, 4, 5]).reshape(3, 5).T.astype(bool)
    assert rle.encode(mask)["counts"] == "12322"
    # runs 0 9 1 1: negative difference 1 - 9 = -8, sign bit 16: -8 & 31 = 24 -> 'H'
    mask = np.repeat([1, 0, 1], [9, 1, 1]).reshape(1, 11).astype(bool)
    assert rle.encode(mask)["counts"] == "091H"


@pytest.mark.parametrize("seed", range(20))
def test_round_trip(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 90, 2)
    mask = rng.random((height, width)) < rng.random()
    assert (rle.decode(rle.encode(mask)) == mask).all()


def test_runs_that_do_not_fit():
    with pytest.raises(ValueError, match="add up to 6"):
        rle.decode({"size": [2, 4], "counts": "231"})
