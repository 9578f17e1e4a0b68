"""What the stages measured: result files read, seeds put together, the right profile cell found."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from lemore.files import read_json

Result = dict[str, Any]  # one result file as its stage wrote it, and `file`: its path


def read(paths: Iterable[Path | str], stage: str) -> list[Result]:
    """Result files of one stage. ValueError naming the file if it comes from another stage."""
    results = []
    for path in paths:
        result = read_json(path)
        if not isinstance(result, dict) or result.get("stage") != stage:
            found = result.get("stage") if isinstance(result, dict) else type(result).__name__
            raise ValueError(f"{path}: expected a result of stage '{stage}', found '{found}'")
        results.append({**result, "file": str(path)})
    return results


@dataclass(frozen=True)
class Score:
    """One model on one dataset, all seeds together. mIoU in percent, crop as (H, W).

    miou_sd: sample standard deviation over the seeds, None for a single seed.
    target: the dataset whose place it takes in the paper's tables.
    verdicts: what significance tests say of it.
    """

    dataset: str
    target: str
    scenes: bool
    model: str
    label: str
    encoder: str
    seeds: int
    miou: float
    miou_sd: float | None
    train_crop: tuple[int, int]
    num_classes: int
    recipe: str
    test_mode: str
    device: str
    verdicts: list[str] = field(default_factory=list)


def scores(evaluations: list[Result]) -> list[Score]:
    """One score per (dataset, model, test mode), in order of appearance."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in evaluations:
        key = (result["dataset"], result["model"], result["test_mode"])
        groups.setdefault(key, []).append(result)
    return [_score(group) for group in groups.values()]


def _score(group: list[Result]) -> Score:
    first = group[0]
    seeds = [result["seed"] for result in group]
    if len(set(seeds)) < len(seeds):
        files = ", ".join(result["file"] for result in group)
        raise ValueError(f"the same seed twice for {first['model']}, give each file once: {files}")
    values = [100 * result["miou"] for result in group]
    return Score(
        dataset=first["dataset"],
        target=first["stands_for"] or first["dataset"],
        scenes=any(result["scenes"] for result in group),
        model=first["model"],
        label=first["label"],
        encoder=first["encoder"],
        seeds=len(seeds),
        miou=mean(values),
        miou_sd=stdev(values) if len(values) > 1 else None,
        train_crop=(first["train_crop"][0], first["train_crop"][1]),
        num_classes=first["num_classes"],
        recipe=first["recipe"],
        test_mode=first["test_mode"],
        device=first["device"],
    )


def labels(results: Iterable[Result]) -> dict[str, str]:
    """Printed label of every measured model, by key."""
    return {result["model"]: result["label"] for result in results if "label" in result}


def names(evaluations: Iterable[Result]) -> dict[str, str]:
    """Printed name of every evaluated model, by key; with its encoder where a label is shared."""
    encoders = {r["model"]: (r["label"], r["encoder"]) for r in evaluations}
    number = Counter(label for label, _ in encoders.values())
    return {
        model: f"{label} ({encoder})" if number[label] > 1 else label
        for model, (label, encoder) in encoders.items()
    }


def cell_for(profile: Result | None, datasets: Iterable[str], size: str) -> Result | None:
    """The profile cell to print for a row.

    datasets: in order of preference. size: "HxW" to prefer among the cells of one dataset, as the
    paper's Table 3 mixes input sizes; "" for none. None if the model has no such cell.
    """
    for dataset in datasets:
        cells = [c for c in (profile or {"cells": []})["cells"] if c["dataset"] == dataset]
        if cells:
            return min(cells, key=lambda cell: cell_size(cell) != size)
    return None


def cell_size(cell: Result) -> str:
    """Input size of a profile cell as "HxW"."""
    return by(cell["size"])


def by(size: Iterable[int]) -> str:
    """(512, 1024) as "512x1024"."""
    return "x".join(str(side) for side in size)


def number(value: float | None, digits: int = 4) -> str:
    """A measured number as text, without trailing zeros; "" for None."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
