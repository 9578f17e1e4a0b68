"""Reads recipes. Torch-free.

A recipe file is config/recipes/<scale>/<dataset>.yaml on top of common.yaml in the same folder
(the pretraining dataset's stands alone); `overrides` holds what is a fact of a pair of dataset and
model.
"""

from functools import cache
from pathlib import Path
from typing import Any

from lemore.config.read import build, convert, convert_keys, did_you_mean, read_yaml
from lemore.config.recipe import Pretrain, Test, Train
from lemore.runtime.shipped import find_file


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Returns `base` with the keys of `over` replaced, mapping by mapping; changes neither."""
    merged = dict(base)
    for key, value in over.items():
        deep = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if deep else value
    return merged


def load_recipe(
    folder: Path, dataset: str, model: str, changes: dict[str, Any]
) -> tuple[Train, Test]:
    """Returns the resolved recipe of a (dataset, model) pair; ValueError names file and key.

    `changes`: a run's changes to all its recipes, under `train`, `test` and `pretrain`.
    """
    values, path = _read(folder, dataset, "common.yaml")
    values = merge(values, values.pop("overrides", {}).get(model, {}))
    values = merge(values, {k: v for k, v in changes.items() if k != "pretrain"})
    source = f"{path} (with common.yaml{' and recipe_changes' if changes else ''})"
    train = build(Train, values.get("train", {}), source, "train.")
    _check_relations(train, f"{source}: train.")
    return train, build(Test, values.get("test", {}), source, "test.")


def load_pretrain(
    folder: Path, dataset: str, backbone: str, changes: dict[str, Any] | None = None
) -> Pretrain:
    """Returns the pretraining recipe of a backbone; `changes` as for `load_recipe`."""
    values, path = _read(folder, dataset, None)
    values = merge(values, values.pop("overrides", {}).get(backbone, {}))
    values = merge(values, (changes or {}).get("pretrain", {}))
    source = f"{path}{' (with recipe_changes)' if changes else ''}"
    recipe = build(Pretrain, values, source)
    _check_relations(recipe, f"{source}: ")
    if recipe.scale_range[1] > 1:
        raise ValueError(
            f"{source}: scale_range is {list(recipe.scale_range)}, expected shares of the area"
        )
    return recipe


def _check_relations(recipe: Train | Pretrain, place: str) -> None:
    """Raises ValueError for numbers that contradict each other.

    Not in the schema, since weights that were trained with such numbers can still be used.
    """
    if isinstance(recipe, Train):
        _check_keeping(recipe, place)
    pairs = {"scale_range": recipe.scale_range}
    if isinstance(recipe, Pretrain):
        pairs["ratio_range"] = recipe.ratio_range
    for key, pair in pairs.items():
        if pair[0] > pair[1]:
            raise ValueError(f"{place}{key} is {list(pair)}, expected the smaller number first")
    for key, most in (("min_lr", "lr"), ("warmup_iterations", "iterations")):
        value, limit = getattr(recipe, key), getattr(recipe, most)
        if value > limit:
            raise ValueError(f"{place}{key} is {value}, expected at most {most}, which is {limit}")


def _check_keeping(recipe: Train, place: str) -> None:
    if recipe.keep == "best" and not recipe.validate_every:
        raise ValueError(f"{place}keep is best, but validate_every is 0, so none is known as best")
    if recipe.keep == "last" and recipe.patience:
        raise ValueError(f"{place}patience is {recipe.patience}, which needs keep: best")


def check_changes(changes: dict[str, Any], source: str, prefix: str) -> None:
    """Raises ValueError naming the key if no recipe can take the changes."""
    kinds = {"train": Train, "test": Test, "pretrain": Pretrain}
    for key, values in convert(dict[str, Any], changes, source, prefix[:-1]).items():
        if key not in kinds:
            raise ValueError(f"{source}: unknown key '{prefix}{key}'{did_you_mean(key, kinds)}")
        convert_keys(kinds[key], values, source, f"{prefix}{key}.")


def override_names(folder: Path, dataset: str, pretrains: bool = False) -> list[str]:
    """Returns the models, or backbones, that the recipe of `dataset` names under `overrides`."""
    values, _ = _read(folder, dataset, None if pretrains else "common.yaml")
    return list(values.get("overrides", {}))


def _read(folder: Path, dataset: str, common: str | None) -> tuple[dict[str, Any], Path]:
    folder = find_file(folder)
    path = folder / f"{dataset}.yaml"
    if folder.is_dir() and not path.exists():
        known = [p.stem for p in folder.glob("*.yaml") if p.stem != "common"]
        raise ValueError(
            f"{path}: no such recipe{did_you_mean(dataset, known)}; write it, or name an "
            "existing one by `recipe:` in the dataset's file in config/datasets"
        )
    pretrains = common is None
    values = dict(_parsed(path, pretrains))
    if common is not None and (folder / common).exists():
        values = merge(_parsed(folder / common, pretrains), values)
    return values, path


def _parsed(path: Path, pretrains: bool) -> dict[str, Any]:
    """Parses a recipe file, once for each time of change, since a run asks for it often."""
    return _parse(path, path.stat().st_mtime_ns if path.exists() else 0, pretrains)


@cache
def _parse(path: Path, _changed: int, pretrains: bool) -> dict[str, Any]:
    """Parses a recipe file and checks its keys, that of every override too."""
    values = read_yaml(path)
    overrides = values.get("overrides", {})
    if not isinstance(overrides, dict):
        raise ValueError(f"{path}: overrides is {overrides!r}, expected models and their changes")
    own = {key: value for key, value in values.items() if key != "overrides"}
    parts = {"": own} | {f"overrides.{name}.": change for name, change in overrides.items()}
    for prefix, part in parts.items():
        if pretrains:
            convert_keys(Pretrain, part, str(path), prefix)
        else:
            check_changes(part, str(path), prefix)
    return values
