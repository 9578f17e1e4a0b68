"""Every key of every schema says what it may hold, and what it may not hold is refused.

The tests walk through the schemas by their annotations, so that a new key is tested without being
named here; a new schema needs an example.
"""

import dataclasses
import math
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from annotated_types import Ge, Gt, Le, Lt, MinLen, Predicate

from lemore.config import jobs, recipe
from lemore.config.dataset import DatasetConfig
from lemore.config.experiment import Experiment
from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import build, convert, plain, read_yaml
from lemore.config.recipe import Pretrain, Train
from lemore.config.recipe_files import load_pretrain, load_recipe
from lemore.config.run import RunConfig
from lemore.config.values import are_distinct, take_apart

ROOT = Path(__file__).parents[2]
ROOTS = (
    RunConfig, DatasetConfig, ModelConfig, BackboneConfig, Train, recipe.Test, Pretrain,
    jobs.PretrainJob, jobs.FinetuneJob, jobs.EvaluateJob, jobs.ProfileJob, jobs.CountJob,
    jobs.DeployJob, jobs.DiagramJob,
)  # fmt: skip
NONE = type(None)


def hints_of(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def find_schemas() -> list[type]:
    """The roots, and the dataclasses in their keys."""
    found: list[type] = []
    waiting: list[Any] = list(ROOTS)
    while waiting:
        hint = waiting.pop()
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            if hint not in found:
                found.append(hint)
                waiting += hints_of(found[-1]).values()
        else:
            waiting += [part for part in get_args(hint) if part is not Ellipsis]
    return sorted(found, key=lambda cls: cls.__name__)


def make_examples() -> dict[str, dict[str, Any]]:
    """Name of a schema -> values that it takes, mostly those of the project's own files."""
    recipes = ROOT / "config/recipes/paper"
    train, test = load_recipe(recipes, "ade20k", "lemore", {})
    model = read_yaml(ROOT / "config/models/lemore.yaml")
    backbone = read_yaml(ROOT / "config/backbones/lemore.yaml")
    place = {"run": "a", "dataset": "b"}
    data = place | {"stands_for": None, "scenes": False}
    both = {"model_name": "lemore", "model": model, "backbone": backbone}
    latency = {"latency_seconds": 1, "latency_backends": ["eager"], "latency_upsample": False}
    cell = {"dataset": "a", "task": "segmentation", "num_classes": 2, "size": [64, 64]}
    cell["head"] = {}
    own = {"images": "{split}/{name}.jpg", "masks": "{split}/{name}.png", "mask": "index"}
    pretrain = plain(load_pretrain(recipes, "imagenet_1k", "lemore"))
    found: dict[str, Any] = {
        "RunConfig": read_yaml(ROOT / "config/config.yaml"),
        "DatasetConfig": read_yaml(ROOT / "config/datasets/ade20k.yaml"),
        "ModelConfig": model,
        "BackboneConfig": backbone,
        "Train": plain(train),
        "Test": plain(test),
        "Pretrain": pretrain,
        "PretrainJob": data
        | {"num_classes": 2, "backbone_name": "a", "backbone": backbone, "recipe": pretrain},
        "FinetuneJob": place | both | {"num_classes": 2, "init": "none", "train": plain(train)},
        "EvaluateJob": data | {"classes": ["a"], "images": ["b"], "test": plain(test)},
        "ProfileJob": both | latency | {"run": "a", "cells": [cell]},
        "CountJob": {"run": "a", "models": []},
        "DeployJob": data
        | {"model_name": "a", "formats": ["onnx"], "size": [64, 64], "test": plain(test)}
        | {"calibration_images": 1, "latency_seconds": 1, "threads": 1},
        "DiagramJob": {"label": "a", "backbone": backbone, "size": [512, 512]},
        "ProfileCell": cell,
        "AuxiliaryHead": {"feature": 0, "width": 8, "weight": 0.4},
        "Ray": {"mode": "local", "workers": 1, "gpus": 0},
        "Comparison": {"images": ["-a"], "models": ["lemore"]},
        "Search": {"trials": 12, "share": 0.25},
        "Archive": {"file": "a.zip", "urls": ["https://a/b.zip"]},
        "Login": {"address": "https://a/login", "cookie": "COOKIE"},
        "Scenes": {"kind": "mixed", "size": [64, 64], "seed": 0},
        "ClassConfig": {"name": "reed water"},
        "Draw": {"seed": 0, "shares": {"train": 0.8, "val": 0.2}},
        "Files": own,
        "Group": {},
        "Term": {},
        "Focal": {},
        "Ohem": {},
        "Losses": {"dice": {}},
        "Teacher": {"checkpoint": "a"},
        "Video": {"sequence": "[^_]+", "block": 10},
    }
    return found


EXAMPLES = make_examples()
SCHEMAS = find_schemas()
KEYS = [(cls, key, hint) for cls in SCHEMAS for key, hint in hints_of(cls).items()]


def says_something(hint: Any) -> bool:
    """Whether an annotation bounds its values, down to the last element."""
    origin = get_origin(hint)
    if origin is Annotated:
        kind, constraints = take_apart(hint)
        inner = get_origin(kind) in (tuple, dict)
        anything = kind in (int, float, str, Any) or get_args(kind)[-1:] == (Any,)
        return bool(constraints) and (not inner or anything or says_something(kind))
    if origin in (Union, types.UnionType, tuple, dict):
        parts = [part for part in get_args(hint) if part not in (Ellipsis, NONE)]
        return all(map(says_something, parts))
    return hint is bool or origin is Literal or dataclasses.is_dataclass(hint)


def list_wrong(hint: Any) -> list[Any]:
    """Values that a key with this annotation may not hold."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind, constraints = take_apart(hint)
        outside = [wrong for bound in constraints for wrong in list_outside(kind, bound)]
        return list_wrong(kind) + outside
    if origin in (Union, types.UnionType):
        wrongs = [w for part in parts if part is not NONE for w in list_wrong(part)]
        return [w for w in wrongs if not any(takes(part, w) for part in parts)]
    if origin is tuple:
        if parts[1:] == (Ellipsis,):
            return ["text", 1, *([wrong] for wrong in list_wrong(parts[0]))]
        whole = [["text"] * (len(parts) + 1), [], {}]
        return whole + [[wrong] * len(parts) for wrong in list_wrong(parts[0])]
    if origin is dict:
        return ["text", [1], *({"name": wrong} for wrong in list_wrong(parts[1])), {2: 1}]
    kinds = {
        bool: ["yes please", 1, []],
        int: ["text", 1.5, True, [], math.nan],
        float: ["text", True, [], math.nan, math.inf, -math.inf, "nan"],
        str: [1, [], {}, True],
    }
    if origin is Literal:
        return ["no such choice", [], 7.5]
    return kinds.get(hint, ["text", []] if dataclasses.is_dataclass(hint) else [])


def list_outside(kind: Any, bound: Any) -> list[Any]:
    """Values just outside a bound."""
    match bound:
        case Gt(limit):
            return [limit, limit - 1]
        case Lt(limit):
            return [limit, limit + 1]
        case Ge(limit):
            return [limit - 1]
        case Le(limit):
            return [limit + 1]
        case MinLen():
            return [{} if get_origin(kind) is dict else []]
        case Predicate(function) if function is are_distinct:
            return [[good, good] for good in ("name", 1, "eager") if takes(kind, [good])]
        case Predicate() if kind is str:
            return ["", " "]
        case Predicate():  # arguments of a module
            return [{"width": -1}, {"width": [math.nan]}, {"deep": {"width": 1e6}}]
    return []


def takes(hint: Any, value: Any) -> bool:
    try:
        convert(hint, value, "file", "key")
    except ValueError:
        return False
    return True


def test_the_examples_hold():
    assert {cls.__name__ for cls in SCHEMAS} == EXAMPLES.keys()
    for cls in SCHEMAS:
        if cls.__name__ != "Files":
            build(cls, EXAMPLES[cls.__name__], "file")


@pytest.mark.parametrize("cls", SCHEMAS, ids=lambda cls: cls.__name__)
def test_every_key_says_what_it_may_hold(cls):
    silent = [key for key, hint in hints_of(cls).items() if not says_something(hint)]
    assert not silent, f"{cls.__name__}: say what {silent} may hold (lemore/config/values.py)"


@pytest.mark.parametrize(
    ("cls", "key", "hint"), KEYS, ids=[f"{cls.__name__}.{key}" for cls, key, _ in KEYS]
)
def test_what_a_key_may_not_hold_is_refused_with_its_name(cls, key, hint):
    for wrong in list_wrong(hint):
        with pytest.raises(ValueError) as error:
            build(cls, EXAMPLES[cls.__name__] | {key: wrong}, "file.yaml", "whole.")
        message = str(error.value)
        assert message.startswith("file.yaml: ") and f"whole.{key}" in message, (wrong, message)


def test_enough_is_tried():
    tried = sum(len(list_wrong(hint)) for _, _, hint in KEYS)
    print(f"{len(KEYS)} keys of {len(SCHEMAS)} schemas, {tried} values refused")
    assert len(KEYS) > 150 and tried > 900
    quiet = {f"{cls.__name__}.{key}" for cls, key, hint in KEYS if not list_wrong(hint)}
    assert not quiet, quiet


# --- a whole run


def lay(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    made = dict(base)
    for key, value in change.items():
        deep = isinstance(value, dict) and value and isinstance(made.get(key), dict)
        made[key] = lay(made[key], value) if deep else value
    return made


def train(**values: Any) -> dict[str, Any]:
    return {"recipe_changes": {"train": values}}


IMAGES = {"images": ["0001TP_008550"], "models": ["lemore"]}
NONSENSE = [
    *({"run": name} for name in ("", "a/b", "../x", "/tmp/x", "a&b;c", "-x", ".", "a(b)",
        "x " * 60)),
    *({"data_dir": name} for name in ("", "-x", "a{b}", "a<b>", "a\nb")),
    *({"init": {"lemore": init}} for init in ("imagenet", "torchvision:Foo", "file:")),
    {"init": {"lemroe": "none"}},
    {"recipe_changes": {"test": {"split": "valid"}}},
    {"recipe_changes": {"tset": {}}},
    {"recipe_changes": {"train": {"lrr": 1}}},
    {"recipe_changes": {"pretrain": {"lr": 0}}},
    {"recipe_changes": {"train": 3}},
    *(train(lr=lr) for lr in (-0.001, 0, math.nan, math.inf, "nan", "fast", True)),
    train(flip_probability=50),
    train(cat_max_ratio=0),
    *(train(scale_range=pair) for pair in ([2.0, 0.5], [0, 0], [0.5], [0.5, math.inf])),
    *(train(img_scale=pair) for pair in ([0, 0], [-160, 120], [160.5, 120])),
    *(train(warmup_iterations=number) for number in (-3, 10**9)),
    train(validate_every=-1),
    train(loader_workers=-1),
    train(drop_path=2),
    train(dropout=1.5),
    train(weight_decay=-1),
    train(head_lr_mult=0),
    train(min_lr=1.0),
    train(betas=[1.0, 1.0]),
    train(batch_size=0),
    train(crop_size=[32, 32]),
    train(decode_head={"width": -1}),
    {"seeds": [-1]},
    {"seeds": [2**70]},
    {"seeds": [0, 0]},
    {"seeds": []},
    {"trainings": {}},
    {"trainings": {}, "comparisons": {}, "profiles": {}},
    {"trainings": {"camvid": ["lemore", "lemore"]}},
    {"trainings": {"camvid": []}},
    {"trainings": {"imagenet_1k": ["lemore"]}, "comparisons": {}},
    {"pretrain": "camvid"},
    {"pretrain": "no_such_dataset"},
    {"latency_seconds": 0},
    {"latency_backends": []},
    {"latency_backends": ["eager", "eager"]},
    {"comparisons": {"camvid": IMAGES | {"images": []}}},
    {"comparisons": {"camvid": IMAGES | {"images": ["a", "a"]}}},
    {"comparisons": {"camvid": IMAGES | {"models": []}}},
    {"comparisons": {"ade20k": IMAGES}},
    *({"deployments": {name: ["onnx"]}} for name in ("lemroe", "lemore@camvdi", "lemore@", "a/b")),
    *({"deployments": {"lemore": kinds}} for kinds in ([], ["tflite"], ["onnx", "onnx"], "onnx")),
    {"deployment_threads": 0},
    {"calibration_images": 0},
    {"profiles": {"lemore": []}},
    {"profiles": {"lemore": ["camvid@0x0"]}},
    {"search": {"trials": 0, "share": 0.5}},
    {"search": {"trials": 3, "share": 5.0}},
    {"ray": {"mode": "local", "workers": 1, "gpus": math.nan}},
]  # fmt: skip


@pytest.mark.parametrize("change", NONSENSE, ids=str)
def test_nonsense_in_a_run_is_refused_when_it_is_read(change):
    values = yaml.safe_load((ROOT / "config/camvid.yaml").read_text())
    Experiment(values, ROOT)
    with pytest.raises(ValueError, match=r"own\.yaml: |\.yaml.*: "):
        Experiment(lay(values, change), ROOT, "own.yaml")


@pytest.mark.parametrize("name", ["my run", "ponds+2", "v1.2", "Süd", "a-b", "x"])
def test_plain_names_are_taken(name):
    values = yaml.safe_load((ROOT / "config/camvid.yaml").read_text())
    assert Experiment(values | {"run": name}, ROOT).results == Path("results", name)


def test_folders_are_found_as_the_shell_would(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    values = yaml.safe_load((ROOT / "config/camvid.yaml").read_text())
    made = Experiment(values | {"data_dir": "~/my data/"}, ROOT)
    assert made.data_dir == "/home/somebody/my data"


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        (
            "common.yaml",
            "train: {lr: -1}",
            ["common.yaml: train.lr is -1, expected a number"],
        ),
        ("camvid.yaml", "train: {lrr: 1}", ["camvid.yaml: unknown key 'train.lrr'", "'lr'"]),
        (
            "camvid.yaml",
            "overrides: {topformer_b: {train: {ema: 1}}}",  # a model that the run does not train
            ["camvid.yaml: overrides.topformer_b.train.ema is 1, expected"],
        ),
        ("camvid.yaml", "overrides: 3", ["camvid.yaml: overrides is 3"]),
        ("camvid.yaml", "tset: {}", ["camvid.yaml: unknown key 'tset'; did you mean 'test'"]),
    ],
)
def test_a_recipe_is_refused_by_the_file_that_is_wrong(tmp_path, file, text, words):
    for name in ("common.yaml", "camvid.yaml"):
        (tmp_path / name).write_text((ROOT / "config/recipes/camvid" / name).read_text())
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError) as error:
        load_recipe(tmp_path, "camvid", "lemore", {})
    assert all(word in str(error.value) for word in words), error.value
