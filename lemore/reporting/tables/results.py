"""Reads result files, groups them by configuration, and finds the names to print."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lemore.runtime.files import read_json

Result = dict[str, Any]  # one result file as its stage wrote it, and `file`: its path


def read_results(paths: Iterable[Path | str], stage: str) -> list[Result]:
    """Reads result files of one stage.

    ValueError names a file that comes from another stage, or that was measured on another state of
    a dataset than the one before: its classes or images have changed in between.
    """
    results: list[Result] = []
    first: dict[str, Result] = {}
    for path in paths:
        result = read_json(path)
        found = result.get("stage") if isinstance(result, dict) else type(result).__name__
        if found != stage:
            raise ValueError(f"{path}: expected a result of stage '{stage}', found '{found}'")
        results.append({**result, "file": str(path)})
        before = first.setdefault(result.get("dataset", ""), results[-1])
        for key in before.keys() & {"classes", "data_sha256"} & result.keys():
            if before[key] != result[key]:
                what = "classes" if key == "classes" else "images or labels"
                raise ValueError(
                    f"{path}: measured on other {what} of '{result['dataset']}' than "
                    f"{before['file']}; evaluate again"
                )
    return results


def group_by_configuration(evaluations: Iterable[Result]) -> list[list[Result]]:
    """Groups the seeds of each dataset, model and configuration, in order of appearance."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in evaluations:
        key = (result["dataset"], result["model"], *_describe_configuration(result))
        groups.setdefault(key, []).append(result)
    return list(groups.values())


def _describe_configuration(result: Result) -> tuple[str, ...]:
    """Describes how a model was trained and tested: crop, iterations, test size, recipe, mode."""
    length = f"{result['iterations']} iterations"
    if "most_iterations" in result:  # each seed ends by itself
        length = f"at most {result['most_iterations']} iterations"
    tested = f"tested in {format_size(result['test_size'])}" if "test_size" in result else ""
    return (
        f"crop {format_size(result['train_crop'])}",
        length,
        tested,
        result["recipe"],
        result["test_mode"],
        f"best on {result['chosen_on']}" if result.get("chosen_on") else "",
        "taught" if result.get("taught") else "",
        f"as {result['format']}" if result.get("format") else "",
    )


def list_differences(group: list[Result], groups: list[list[Result]]) -> list[str]:
    """Lists the parts of a configuration; those that all of its model and dataset share are ""."""
    place, own = (group[0]["dataset"], group[0]["model"]), _describe_configuration(group[0])
    others = [g[0] for g in groups if (g[0]["dataset"], g[0]["model"]) == place]
    kinds = [set(texts) for texts in zip(*map(_describe_configuration, others), strict=True)]
    return [text if len(kind) > 1 else "" for text, kind in zip(own, kinds, strict=True)]


def check_one_dataset(evaluations: list[Result]) -> None:
    """Raises ValueError if there are evaluations of several datasets, or none."""
    datasets = sorted({result["dataset"] for result in evaluations})
    if len(datasets) != 1:
        found = ", ".join(datasets) or "none"
        raise ValueError(f"expected evaluations of one dataset, found {found}")


def check_one_configuration(evaluations: list[Result]) -> None:
    """Raises ValueError if a model of a dataset has evaluations of several configurations."""
    groups = group_by_configuration(evaluations)
    for group in groups:
        if apart := [*filter(None, list_differences(group, groups))]:
            raise ValueError(
                f"{group[0]['file']}: '{group[0]['model']}' was evaluated in several "
                f"configurations (this one: {', '.join(apart)}); give those of one"
            )


def group_by_name(evaluations: list[Result]) -> dict[str, list[Result]]:
    """Groups the seeds of each model and configuration on one dataset, by printed name."""
    groups, printed = group_by_configuration(evaluations), name_models(evaluations)
    named = {}
    for group in groups:
        parts = [printed[group[0]["model"]], *filter(None, list_differences(group, groups))]
        named[", ".join(parts)] = group
    return named


def pick_first_seeds(evaluations: list[Result]) -> dict[str, Result]:
    """Picks each model's and configuration's evaluation with the smallest seed, by printed name."""
    return {
        name: min(seeds, key=lambda result: result["seed"])
        for name, seeds in group_by_name(evaluations).items()
    }


def label_models(results: Iterable[Result]) -> dict[str, str]:
    """Returns every measured model's printed label, by key; it contains the key where another model
    has the same label and encoder."""
    known = {r["model"]: (r["label"], r["encoder"]) for r in results if "label" in r}
    number = Counter(known.values())
    return {
        model: f"{both[0]} ({model})" if number[both] > 1 else both[0]
        for model, both in known.items()
    }


def name_models(evaluations: Iterable[Result]) -> dict[str, str]:
    """Returns every evaluated model's printed name, by key, for use without a column of encoders.

    Where models share a label it has the encoder too, or the key where they also share that.
    """
    known = {r["model"]: (r["label"], r["encoder"]) for r in evaluations}
    numbers, shared = Counter(known.values()), Counter(label for label, _ in known.values())
    return {
        model: f"{label} ({model if numbers[label, encoder] > 1 else encoder})"
        if shared[label] > 1
        else label
        for model, (label, encoder) in known.items()
    }


def find_cell(profile: Result | None, datasets: Iterable[str], size: str) -> Result | None:
    """Finds the profile cell to print for a row.

    datasets: in order of preference. size: "HxW" to prefer among the cells of one dataset, as the
    paper's Table 3 mixes input sizes; "" for none. None if the model has no such cell.
    """
    for dataset in datasets:
        cells = [c for c in (profile or {"cells": []})["cells"] if c["dataset"] == dataset]
        if cells:
            return min(cells, key=lambda cell: format_size(cell["size"]) != size)
    return None


def format_size(size: Iterable[int]) -> str:
    """Formats (512, 1024) as "512x1024"."""
    return "x".join(str(side) for side in size)
