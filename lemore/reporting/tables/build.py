"""The rows of every table, as DataFrames: measured values beside published ones.

Measured numbers come from result files alone and are rounded to four decimals; published ones come
from paper.csv alone and stay text, since their digits are part of them. Parameters, MACs and
latency are those of the paper-size model, whatever the run trained: `profile_size` says which.
"""

from collections.abc import Sequence
from statistics import mean, stdev

import pandas as pd

from lemore.reporting.tables import paper, significance
from lemore.reporting.tables.columns import MEASURES, Row, set_types
from lemore.reporting.tables.paper import DETECTION, IMAGENET, VIEWS, PaperRow
from lemore.reporting.tables.results import (
    Result,
    find_cell,
    format_size,
    group_by_configuration,
    list_differences,
    name_models,
)

PUBLISHED = ("miou", "top1", "gflops", "params_m", "latency_ms", "source")  # of a `PaperRow`
SCENES = "scenes: measured on scenes that the project draws, not on the real dataset"
RECIPES = {
    "own recipe": "own recipe: trained as its authors train it",
    "adapted recipe": "adapted recipe: published for another dataset, encoder or head",
    "common recipe": "common recipe: trained with LeMoRe's recipe",
    "reconstructed": "recipe reconstructed: none is published for this model and dataset",
}
FROM_SCRATCH = "from scratch: trained without ImageNet pretraining"
FROM_MODEL = "started from a whole trained model"
TAUGHT = "learnt from a trained model's predictions too"
TOP5 = "top-5 as measured here: the paper publishes none"
RECONSTRUCTED = "recipe reconstructed: the paper gives none for ImageNet"
UNSTEADY = 1.5  # ratio of p95 to p50 from which a remark is made
DEFAULT_COSTS = "ade20k"  # whose costs to print for a dataset that the paper does not use


def build_table(
    name: str,
    evaluations: list[Result],
    profiles: list[Result],
    pretrainings: list[Result],
    pairs: Sequence[significance.Pair] = (),
    counts: Sequence[Result] = (),
) -> pd.DataFrame:
    """Builds table `name`, a view or a dataset of the results; ValueError if it is neither.

    pairs: which models are better than which, noted in the rows of the better ones. counts: like
    profiles, for models at sizes at which they were not profiled.
    """
    if name == "efficiency":
        return set_types([make_cell_row(p, cell) for p in profiles for cell in p["cells"]])
    if name == "imagenet":
        return set_types(_list_imagenet_rows(pretrainings, profiles))
    measured = measure_accuracy(evaluations, pairs)
    if name in VIEWS:
        return set_types(_list_view_rows(name, measured, profiles, counts))
    rows = [complete_row(row, None, profiles, counts) for row in measured if row["dataset"] == name]
    rows = rows or [make_top1_row(p, None, profiles) for p in pretrainings if p["dataset"] == name]
    if not rows:
        views = ", ".join(VIEWS)
        raise ValueError(f"table '{name}' is neither one of {views} nor a dataset of the results")
    return set_types(rows)


def measure_accuracy(evaluations: list[Result], pairs: Sequence[significance.Pair]) -> list[Row]:
    """Makes a row per dataset, model and configuration: mIoU or average precisions over the seeds,
    and what differed.

    `target` is the dataset whose place it takes in the paper's tables. ValueError if a seed occurs
    twice.
    """
    groups, printed = group_by_configuration(evaluations), name_models(evaluations)
    rows = []
    for group in groups:
        first, seeds = group[0], {result["seed"] for result in group}
        if len(seeds) < len(group):
            files = ", ".join(result["file"] for result in group)
            what = f"the same seed twice for {first['model']}"
            raise ValueError(f"{what}, give each file once: {files}")
        apart = [text for text in list_differences(group, groups)[:3] if text]
        notes = [SCENES] if any(result["scenes"] for result in group) else []
        notes += [RECIPES.get(first["recipe"], first["recipe"])]
        notes += [FROM_SCRATCH] if first.get("init") == "none" else []
        notes += [FROM_MODEL] if first.get("init") == "checkpoint" else []
        notes += [TAUGHT] if first.get("taught") else []
        notes += [f"measured as {first['format']}"] if first.get("format") else []
        notes += _remark_on_choice(first)
        notes += [f"test mode {first['test_mode']}"] if first["test_mode"] != "whole" else []
        if not apart:  # significance tests take one configuration per model
            place = first["dataset"], first["model"], first["test_mode"]
            apart = significance.describe_verdicts(*place, pairs, printed)
        rows.append(
            {
                "target": first["stands_for"] or first["dataset"],
                **{name: first[name] for name in ("dataset", "model", "encoder", "num_classes")},
                "seeds": len(group),
                **_average(group),
                "train_crop": format_size(first["train_crop"]),
                "note": [*notes, *apart],
            }
        )
    return rows


def _average(group: list[Result]) -> Row:
    """Averages the measures of a group's seeds, in percent, with the deviation of the first."""
    names = MEASURES if "ap" in group[0] else ("miou",)
    values = {name: [100 * r[name] for r in group if r[name] is not None] for name in names}
    means = {name: _round(mean(found)) for name, found in values.items() if found}
    first = values[names[0]]
    return means | {f"{names[0]}_sd": _round(stdev(first) if len(first) > 1 else None)}


def _remark_on_choice(result: Result) -> list[str]:
    """Says if the weights were chosen by a validation, above all on the images reported here."""
    split = result.get("chosen_on")
    if split and split == result["split"]:
        return [f"weights chosen on {split}, the split reported here: better than on new images"]
    return [f"weights of the best validation on {split}"] if split else []


def _round(value: float | None, unit: float = 1.0) -> float | None:
    return None if value is None else round(value / unit, 4)


def complete_row(
    measured: Row, row: PaperRow | None, profiles: Sequence[Result], counts: Sequence[Result]
) -> Row:
    """Adds to a model on a dataset its costs, and its published numbers if there are any.

    measured: a row of `measure_accuracy`, or model and target alone. row: the paper's row to which
    this one belongs, None if there is none.
    """
    model, target = measured["model"], measured["target"]
    profile = next((p for p in profiles if p["model"] == model), None)
    published = row or paper.find_row(model, target)
    datasets = [measured.get("dataset", target), target]
    if not any(known.dataset == target for known in paper.load_rows()):
        datasets.append(DEFAULT_COSTS)
    size = published.input_size if published else ""
    cell = find_cell(profile, datasets, size)
    if cell is None:
        counted = next((c for c in counts if c["model"] == model), None)
        cell = find_cell(counted, datasets, size)
        profile = counted if cell else profile
    notes = list(measured.get("note", ()))
    if cell is not None and cell["num_classes"] != measured.get("num_classes", cell["num_classes"]):
        classes = f"{cell['num_classes']} classes ({cell['dataset']})"
        notes += [f"params, MACs and latency counted with {classes}"]
    notes += remark_on_latency(cell)
    notes += published.notes if published else []
    notes += paper.quote_others(model, target, published)
    encoder = row.encoder if row else measured.get("encoder") or (profile or {}).get("encoder", "")
    return {
        "dataset": target,
        **_list_costs(profile, cell),
        **_list_published(published),
        **measured,
        "encoder": encoder or (published.encoder if published else ""),
        "note": notes,
    }


def _list_costs(profile: Result | None, cell: Result | None) -> Row:
    if profile is None or cell is None:
        return {}
    latency = cell["latency"] or {"p50_ms": None, "p95_ms": None}
    return {
        "gmacs": _round(cell["macs"], 1e9),
        "gmacs_fvcore": _round(cell["fvcore_total"], 1e9),
        "params_m": _round(cell["params"], 1e6),
        "params_m_with_aux": _round(cell["params_with_aux"], 1e6),
        "latency_ms_p50": _round(latency["p50_ms"]),
        "latency_ms_p95": _round(latency["p95_ms"]),
        "profile_size": format_size(cell["size"]),
        "num_classes": cell["num_classes"],
        "device": profile["device"],
    }


def _list_published(row: PaperRow | None) -> Row:
    if row is None:
        return {}
    values = {f"{name}_paper": getattr(row, name) for name in PUBLISHED}
    return values | ({"ap_paper": values.pop("miou_paper")} if row.dataset == DETECTION else {})


def remark_on_latency(cell: Result | None) -> list[str]:
    """Returns the remark on a latency that other work on the machine has disturbed."""
    latency = cell["latency"] if cell else None
    if latency is None or latency["p95_ms"] <= UNSTEADY * latency["p50_ms"]:
        return []
    return [f"latency unsteady (p95 over {UNSTEADY} times p50): a busy machine? measure again"]


def make_top1_row(result: Result | None, row: PaperRow | None, profiles: list[Result]) -> Row:
    """Makes a classifier's row: the backbone's key, and the costs of the model of that name."""
    model = result["backbone"] if result else row.model if row else ""
    profile = next((p for p in profiles if p.get("backbone", p["model"]) == model), None)
    cell = find_cell(profile, [IMAGENET], row.input_size if row else "")
    cells = {"dataset": IMAGENET, "model": model, **_list_costs(profile, cell)}
    cells |= _list_published(row)
    cells["encoder"] = row.encoder if row else (profile or {}).get("encoder", model)
    notes = [*(row.notes if row else []), *remark_on_latency(cell)]
    if result is not None:
        cells |= {
            "dataset": result["dataset"],
            "top1": _round(100 * result["top1"]),
            "top5": _round(100 * result["top5"]),
            "seeds": 1,
            "train_crop": format_size(result["input_size"]),
        }
        notes = [SCENES] * result["scenes"] + [RECONSTRUCTED, TOP5, *notes]
    return cells | {"note": notes}


def make_cell_row(profile: Result, cell: Result) -> Row:
    """Makes a row of the efficiency table; published costs only if they are for the same input."""
    published = paper.find_row(profile["model"], cell["dataset"])
    cells = {"dataset": cell["dataset"], "model": profile["model"], "encoder": profile["encoder"]}
    cells |= _list_costs(profile, cell)
    notes = []
    if published is not None and published.input_size == format_size(cell["size"]):
        cells |= _list_published(published) | {"miou_paper": "", "top1_paper": ""}
        notes = published.notes
    return cells | {"note": [*notes, *remark_on_latency(cell)]}


def _list_view_rows(
    name: str, measured: list[Row], profiles: list[Result], counts: Sequence[Result]
) -> list[Row]:
    """Lists the paper's rows in its order, then rows that it lacks: LeMoRe's nearest rivals and
    all models measured for the view; ablation rows only in the ablation."""
    view = VIEWS[name]
    known = {(row.model, row.dataset): row for row in paper.list_rows(view.table)}
    others = [(row.model, row.dataset) for row in paper.load_rows() if paper.is_rival(row.model)]
    others += [(row["model"], row["target"]) for row in measured]
    others += [(p["model"], cell["dataset"]) for p in profiles for cell in p["cells"]]
    lacking = [
        (model, dataset)
        for model, dataset in dict.fromkeys(others)
        if dataset in view.datasets
        and paper.is_ablation(model) == (name == "ablation")
        and (model, dataset) not in known
    ]
    lacking.sort(key=lambda place: view.datasets.index(place[1]))
    rows = []
    for model, target in (*known, *lacking):
        matching = [row for row in measured if (row["model"], row["target"]) == (model, target)]
        for row in matching or [{"model": model, "target": target}]:
            rows.append(complete_row(row, known.get((model, target)), profiles, counts))
    return rows


def _list_imagenet_rows(pretrainings: list[Result], profiles: list[Result]) -> list[Row]:
    mine = [p for p in pretrainings if (p["stands_for"] or p["dataset"]) == IMAGENET]
    published, rows = paper.list_rows("supplement"), []
    for row in published:
        matching = [p for p in mine if p["backbone"] == row.model]
        rows += [make_top1_row(p, row, profiles) for p in matching or [None]]
    known = {row.model for row in published}
    return rows + [make_top1_row(p, None, profiles) for p in mine if p["backbone"] not in known]
