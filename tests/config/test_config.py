"""Strict configuration: a mistake is refused by file, key and nearest known name."""

from dataclasses import dataclass

import pytest

from lemore.config.read import build, check_gpus, load


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


@pytest.mark.parametrize(
    ("gpus", "workers", "most", "words"),
    [
        (1.5, 1, None, ["f.yaml: ray.gpus is 1.5", "a share of one GPU (0.5), or a whole number"]),
        (-1.0, 1, None, ["ray.gpus is -1.0"]),
        (float("nan"), 1, None, ["ray.gpus is nan"]),
        (float("inf"), 1, None, ["ray.gpus is inf"]),
        (0.5, 2, None, ["ray.gpus is 0.5, expected 1 with 2 workers", "or set workers to 1"]),
        (1.0, 4, 2, ["ray.gpus is 1 for 4 worker(s), but there are 2 GPUs; lower"]),
    ],
)
def test_shares_of_gpus_that_cannot_work_are_refused(gpus, workers, most, words):
    with pytest.raises(ValueError) as error:
        check_gpus(gpus, workers, "f.yaml", "ray.gpus", most)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("gpus", "workers", "most"), [(0, 4, 0), (0.5, 1, 1), (1, 2, 2), (2, 1, None)]
)
def test_shares_of_gpus_that_work_are_taken(gpus, workers, most):
    check_gpus(float(gpus), workers, "f.yaml", "ray.gpus", most)


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("name: a\nname: b\ninner: {size: [1, 2], rate: 1}\n")
    with pytest.raises(ValueError, match=r"twice\.yaml: line 2: key 'name' is given twice"):
        load(Outer, path)


def test_a_missing_file_names_its_neighbour(tmp_path):
    (tmp_path / "lemore.yaml").write_text("name: a\n")
    with pytest.raises(ValueError, match=r"did you mean 'lemore\.yaml'"):
        load(Outer, tmp_path / "lemroe.yaml")


def test_yaml_1_1_exponents_are_numbers(tmp_path):
    path = tmp_path / "rate.yaml"
    path.write_text("size: [1, 2]\nrate: 1e-4\n")
    assert load(Inner, path).rate == 1e-4
