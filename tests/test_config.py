"""Strict configuration: a mistake is refused by file, key and nearest known name."""

from dataclasses import dataclass

import pytest

from lemore.config import build, load


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int]
    rate: float


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    names: tuple[str, ...] = ()
    limit: int | None = None


GOOD = {"name": "x", "inner": {"size": [1, 2], "rate": 1}}


def test_values_take_their_types():
    made = build(Outer, GOOD | {"names": ["a", "b"]}, "f.yaml")
    assert made == Outer("x", Inner((1, 2), 1.0), ("a", "b"), None)
    assert isinstance(made.inner.rate, float)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nmae": "y"}, ["f.yaml", "'nmae'", "did you mean 'name'"]),
        ({"inner": {"size": [1, 2], "rat": 1}}, ["'inner.rat'", "did you mean 'rate'"]),
        ({"inner": {"size": [1, 2]}}, ["missing key 'inner.rate'"]),
        ({"inner": {"size": [1], "rate": 1}}, ["inner.size", "a list of 2"]),
        ({"inner": {"size": [1, True], "rate": 1}}, ["inner.size[1]", "whole number"]),
        ({"limit": "many"}, ["limit is 'many'", "whole number"]),
        ({"names": "ab"}, ["names is 'ab'", "a list"]),
    ],
)
def test_mistakes_are_named(change, words):
    with pytest.raises(ValueError) as error:
        build(Outer, GOOD | change, "f.yaml")
    assert all(word in str(error.value) for word in words), error.value


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("name: a\nname: b\ninner: {size: [1, 2], rate: 1}\n")
    with pytest.raises(ValueError, match=r"twice\.yaml:2: key 'name' is given twice"):
        load(Outer, path)


def test_a_missing_file_names_its_neighbour(tmp_path):
    (tmp_path / "lemore.yaml").write_text("name: a\n")
    with pytest.raises(ValueError, match=r"did you mean 'lemore\.yaml'"):
        load(Outer, tmp_path / "lemroe.yaml")


def test_yaml_1_1_exponents_are_numbers(tmp_path):
    path = tmp_path / "rate.yaml"
    path.write_text("size: [1, 2]\nrate: 1e-4\n")
    assert load(Inner, path).rate == 1e-4
