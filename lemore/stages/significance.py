"""Tests which models of a dataset are better than which: a paired bootstrap over its images."""

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from lemore.evaluation.statistics import (
    Resampled,
    compare,
    correct_p_values,
    number_blocks,
    resample,
)
from lemore.reporting.tables.results import Result, check_one_configuration, read_results
from lemore.reporting.tables.significance import format_csv
from lemore.runtime.files import hash_file, write_atomic

log = logging.getLogger(__name__)


def write_significance(
    evaluations: Sequence[str], sequence: str | None, block: int, output: str
) -> None:
    """Writes a CSV with a row for each pair of models, of each dataset and test mode.

    sequence: pattern of the part of an image's name that names its film, None for single images.
    block: the number of neighbouring frames that are taken as one.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in read_results(evaluations, "evaluate"):
        groups.setdefault((result["dataset"], result["test_mode"]), []).append(result)
    rows = [row for group in groups.values() for row in _test_pairs(group, sequence, block)]
    write_atomic(output, format_csv(rows))
    log.info("%d pairs of models compared, in %s", len(rows), output)


def _test_pairs(group: list[Result], sequence: str | None, block: int) -> list[dict[str, Any]]:
    """Tests all pairs of models with the same number of seeds, the better mIoU first."""
    check_one_configuration(group)
    models: dict[str, list[Result]] = {}
    for result in group:
        if "per_image" in result:
            models.setdefault(result["model"], []).append(result)
    models = {model: results for model, results in models.items() if len(results) > 1}
    pairs = [(a, b) for a, b in combinations(models, 2) if len(models[a]) == len(models[b])]
    if not pairs:
        return []
    names, drawn = _resample_models(models, sequence, block)
    miou = {m: sum(r["miou"] for r in results) / len(results) for m, results in models.items()}
    ordered = [sorted(both, key=lambda m: -miou[m]) for both in pairs]
    found = [compare(drawn[a], drawn[b]) for a, b in ordered]
    corrected = correct_p_values([difference.p for difference in found])
    return [
        {
            "dataset": group[0]["dataset"],
            "test_mode": group[0]["test_mode"],
            "model": model,
            "than": than,
            "seeds": len(models[model]),
            "images": len(names),
            "blocks": drawn[model][0].blocks,
            "difference": 100 * difference.difference,
            "low": 100 * difference.low,
            "high": 100 * difference.high,
            "p": difference.p,
            "p_holm": p_holm,
        }
        for (model, than), difference, p_holm in zip(ordered, found, corrected, strict=True)
    ]


def _resample_models(
    models: Mapping[str, list[Result]], sequence: str | None, block: int
) -> tuple[list[str], dict[str, list[Resampled]]]:
    """Returns the images' names, and mIoU on the same draws of them for each model's seeds."""
    loaded = {
        model: [_load_counts(result) for result in results] for model, results in models.items()
    }
    evaluations = [one for several in loaded.values() for one in several]
    names = evaluations[0][0]
    if any(other != names for other, _ in evaluations):
        files = ", ".join(r["file"] for results in models.values() for r in results)
        raise ValueError(f"evaluated on different images, evaluate them again: {files}")
    blocks = number_blocks(names, sequence, block) if sequence else np.arange(len(names))
    drawn = iter(resample([counts for _, counts in evaluations], blocks))
    return names, {model: [next(drawn) for _ in several] for model, several in loaded.items()}


def _load_counts(result: Result) -> tuple[list[str], np.ndarray]:
    """Loads the names of an evaluation's images and its pixel counts by image and class."""
    path = Path(result["file"]).parent / result["per_image"]["file"]
    if not path.exists() or hash_file(path) != result["per_image"]["sha256"]:
        raise ValueError(f"{path}: missing, or not as {result['file']} records it; evaluate again")
    with np.load(path, allow_pickle=False) as counts:
        values = [counts[key] for key in ("intersection", "predicted", "labelled")]
        return [str(name) for name in counts["names"]], np.stack(values)
