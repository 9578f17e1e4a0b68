"""What the stages measured: result files read, seeds put together, the right profile cell found."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from lemore.runtime.files import read_json

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
    """One model in one configuration on one dataset, all seeds together. mIoU in percent, crop as
    (H, W).

    miou_sd: sample standard deviation over the seeds, None for a single seed.
    target: the dataset whose place it takes in the paper's tables.
    apart: what sets it apart from other scores of its model on the dataset.
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
    from_scratch: bool
    apart: list[str]
    verdicts: list[str] = field(default_factory=list)


def by_configuration(evaluations: Iterable[Result]) -> list[list[Result]]:
    """The seeds of each dataset, model and configuration, in order of appearance."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in evaluations:
        key = (result["dataset"], result["model"], *_configuration(result))
        groups.setdefault(key, []).append(result)
    return list(groups.values())


def _configuration(result: Result) -> tuple[str, ...]:
    """How a model was trained and tested."""
    crop, iterations = by(result["train_crop"]), result["iterations"]
    tested = f"tested in {by(result['test_size'])}" if "test_size" in result else ""
    told_by_rows = result["recipe"], result["test_mode"]
    return f"crop {crop}", f"{iterations} iterations", tested, *told_by_rows


def one_configuration(evaluations: list[Result]) -> None:
    """ValueError if a model of a dataset has evaluations of several configurations."""
    groups = by_configuration(evaluations)
    for group in groups:
        if apart := [*filter(None, _apart(group, groups))]:
            raise ValueError(
                f"{group[0]['file']}: '{group[0]['model']}' was evaluated in several "
                f"configurations (this one: {', '.join(apart)}); give those of one"
            )


def _apart(group: list[Result], groups: list[list[Result]]) -> tuple[str, ...]:
    """What of a configuration differs from others of its model and dataset, "" for the rest."""
    place, own = (group[0]["dataset"], group[0]["model"]), _configuration(group[0])
    others = [g[0] for g in groups if (g[0]["dataset"], g[0]["model"]) == place]
    kinds = [set(texts) for texts in zip(*map(_configuration, others), strict=True)]
    return tuple(text if len(kind) > 1 else "" for text, kind in zip(own, kinds, strict=True))


def by_name(evaluations: list[Result]) -> dict[str, list[Result]]:
    """The seeds of each model and configuration on one dataset, by printed name."""
    groups, printed = by_configuration(evaluations), names(evaluations)
    return {
        ", ".join([printed[group[0]["model"]], *filter(None, _apart(group, groups))]): group
        for group in groups
    }


def scores(evaluations: list[Result]) -> list[Score]:
    """One score per dataset, model and configuration, in order of appearance."""
    groups = by_configuration(evaluations)
    return [_score(group, [*filter(None, _apart(group, groups)[:3])]) for group in groups]


def _score(group: list[Result], apart: list[str]) -> Score:
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
        from_scratch=first.get("init") == "none",
        apart=apart,
    )


def labels(results: Iterable[Result]) -> dict[str, str]:
    """Printed label of every measured model, by key; with the key where label and encoder are
    those of another model too."""
    known = {r["model"]: (r["label"], r["encoder"]) for r in results if "label" in r}
    number = Counter(known.values())
    return {
        model: f"{both[0]} ({model})" if number[both] > 1 else both[0]
        for model, both in known.items()
    }


def names(evaluations: Iterable[Result]) -> dict[str, str]:
    """Printed name of every evaluated model, by key; with its encoder, or where that is the same
    too its key, where a label is shared."""
    known = {r["model"]: (r["label"], r["encoder"]) for r in evaluations}
    numbers, shared = Counter(known.values()), Counter(label for label, _ in known.values())
    return {
        model: f"{label} ({model if numbers[label, encoder] > 1 else encoder})"
        if shared[label] > 1
        else label
        for model, (label, encoder) in known.items()
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
