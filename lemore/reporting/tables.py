"""Rows of every table: the paper's tables as views, efficiency, and one table per dataset.

A row is a mapping from `COLUMNS` to text, empty where nothing was measured or published. Measured
numbers come from result files alone, published ones from paper.csv alone. Parameters, MACs and
latency are those of the paper-size model, whatever the run trained: `profile_size` says which.
"""

from dataclasses import dataclass

from lemore.reporting import paper
from lemore.reporting.paper import PaperRow
from lemore.reporting.results import (
    Result,
    Score,
    by,
    cell_for,
    cell_size,
    number,
    scores,
)

COLUMNS = [
    "dataset", "model", "encoder", "seeds", "miou", "miou_sd", "miou_paper", "top1",
    "top1_paper", "gmacs", "gmacs_fvcore", "gflops_paper", "params_m", "params_m_with_aux",
    "params_m_paper", "latency_ms_p50", "latency_ms_p95", "latency_ms_paper", "profile_size",
    "train_crop", "num_classes", "device", "source_paper", "note",
]  # fmt: skip
SCENES = "scenes: measured on scenes that the project draws, not on the real dataset"
RECIPES = {
    "own recipe": "own recipe: trained as its authors train it",
    "common recipe": "common recipe: trained with LeMoRe's recipe",
}
RECONSTRUCTED = "recipe reconstructed: the paper gives none for ImageNet"
DEFAULT_COSTS = "ade20k"  # whose costs to print for a dataset that the paper does not use

Row = dict[str, str]


@dataclass(frozen=True)
class View:
    """A table of the paper: its number there, its title, the datasets it is about."""

    table: str
    title: str
    datasets: tuple[str, ...]


VIEWS = {
    "ade20k": View("1", "Results on ADE20K val (the paper's Table 1)", ("ade20k",)),
    "ablation": View("2", "Ablation on ADE20K val (the paper's Table 2)", ("ade20k",)),
    "cityscapes": View("3", "Results on Cityscapes val (the paper's Table 3)", ("cityscapes",)),
    "pascal_context": View(
        "4",
        "Results on PASCAL Context (the paper's Table 4)",
        ("pascal_context_59", "pascal_context_60"),
    ),
    "coco_stuff": View("5", "Results on COCO-Stuff 10K (the paper's Table 5)", ("coco_stuff_10k",)),
    "imagenet": View(
        "supplement", "ImageNet-1K classification (the paper's supplement)", ("imagenet_1k",)
    ),
    "efficiency": View("", "Parameters, MACs and latency of every profiled model", ()),
}


def build(
    name: str, evaluations: list[Result], profiles: list[Result], pretrainings: list[Result]
) -> list[Row]:
    """Rows of table `name`: a view or a dataset of the results. ValueError if it is neither."""
    if name == "efficiency":
        return [_cell_row(p, cell) for p in profiles for cell in p["cells"]]
    if name == "imagenet":
        return _imagenet_rows(pretrainings, profiles)
    if name in VIEWS:
        return _view_rows(name, evaluations, profiles)
    mine = [score for score in scores(evaluations) if score.dataset == name]
    if mine:
        return [_segmentation_row(s.model, s.target, s, None, profiles) for s in mine]
    rows = [_top1_row(p, None, profiles) for p in pretrainings if p["dataset"] == name]
    if not rows:
        views = ", ".join(VIEWS)
        raise ValueError(f"table '{name}' is neither one of {views} nor a dataset of the results")
    return rows


def _view_rows(name: str, evaluations: list[Result], profiles: list[Result]) -> list[Row]:
    view = VIEWS[name]
    published = paper.rows_of(view.table)
    measured = [score for score in scores(evaluations) if score.target in view.datasets]
    rows = []
    for row in published:
        matching = [s for s in measured if (s.model, s.target) == (row.model, row.dataset)]
        for score in matching or [None]:
            rows.append(_segmentation_row(row.model, row.dataset, score, row, profiles))
    known = {(row.model, row.dataset) for row in published}
    for model, dataset in _lacking(measured, profiles, view, name == "ablation"):
        if (model, dataset) not in known:
            matching = [s for s in measured if (s.model, s.target) == (model, dataset)]
            for score in matching or [None]:
                rows.append(_segmentation_row(model, dataset, score, None, profiles))
    return rows


def _lacking(
    measured: list[Score], profiles: list[Result], view: View, ablation: bool
) -> list[tuple[str, str]]:
    """(model, dataset) of everything measured for a view, ablation rows only for the ablation."""
    found = [(score.model, score.target) for score in measured]
    for profile in profiles:
        datasets = dict.fromkeys(cell["dataset"] for cell in profile["cells"])
        found += [(profile["model"], d) for d in datasets if d in view.datasets]
    kept = [pair for pair in dict.fromkeys(found) if paper.is_ablation(pair[0]) == ablation]
    return sorted(kept, key=lambda pair: view.datasets.index(pair[1]))


def _segmentation_row(
    model: str, dataset: str, score: Score | None, row: PaperRow | None, profiles: list[Result]
) -> Row:
    profile = next((p for p in profiles if p["model"] == model), None)
    published = row or paper.find(model, dataset)
    own_dataset = [score.dataset] if score else []
    in_paper = any(known.dataset == dataset for known in paper.load())
    preferred = [*own_dataset, dataset, *([] if in_paper else [DEFAULT_COSTS])]
    cell = cell_for(profile, preferred, published.input.split(" ")[0] if published else "")
    cells = dict.fromkeys(COLUMNS, "")
    cells |= {"dataset": dataset, "model": model, "encoder": (profile or {}).get("encoder", "")}
    cells |= _costs(profile, cell)
    cells |= _published(published)
    cells |= _scored(score)
    cells["encoder"] = row.encoder if row else cells["encoder"]
    cells["note"] = "; ".join(_notes(model, dataset, score, row, published, cell))
    return cells


def _scored(score: Score | None) -> Row:
    if score is None:
        return {}
    return {
        "dataset": score.dataset,
        "encoder": score.encoder,
        "seeds": str(score.seeds),
        "miou": number(score.miou),
        "miou_sd": number(score.miou_sd),
        "train_crop": by(score.train_crop),
        "num_classes": str(score.num_classes),
    }


def _costs(profile: Result | None, cell: Result | None) -> Row:
    if profile is None or cell is None:
        return {}
    latency = cell["latency"] or {"p50_ms": None, "p95_ms": None}
    with_aux = cell["params_with_aux"]
    return {
        "gmacs": number(cell["macs"] / 1e9),
        "gmacs_fvcore": number(cell["fvcore_total"] / 1e9),
        "params_m": number(cell["params"] / 1e6),
        "params_m_with_aux": number(with_aux / 1e6) if with_aux is not None else "",
        "latency_ms_p50": number(latency["p50_ms"]),
        "latency_ms_p95": number(latency["p95_ms"]),
        "profile_size": cell_size(cell),
        "num_classes": str(cell["num_classes"]),
        "device": profile["device"],
    }


def _published(row: PaperRow | None) -> Row:
    if row is None:
        return {}
    return {
        "miou_paper": row.miou,
        "top1_paper": row.top1,
        "gflops_paper": row.gflops,
        "params_m_paper": row.params_m,
        "latency_ms_paper": row.latency_ms,
        "source_paper": row.source,
    }


def _notes(
    model: str,
    dataset: str,
    score: Score | None,
    row: PaperRow | None,
    published: PaperRow | None,
    cell: Result | None,
) -> list[str]:
    notes = []
    if score is not None:
        notes += [SCENES] if score.scenes else []
        notes += [RECIPES.get(score.recipe, score.recipe)]
        notes += [f"test mode {score.test_mode}"] if score.test_mode != "whole" else []
    if score is not None and cell is not None and cell["num_classes"] != score.num_classes:
        classes = f"{cell['num_classes']} classes ({cell['dataset']})"
        notes += [f"params, MACs and latency counted with {classes}"]
    if row is None and published is not None and published.table == paper.OWN:
        notes += [_lacking_note(published)]
    if published is not None and published.table != paper.OWN and published.note:
        notes += published.note.split("; ")
    other = paper.elsewhere(model, dataset, published)
    return [*notes, other] if other else notes


def _lacking_note(row: PaperRow) -> str:
    details = f" ({row.note})" if row.note else ""
    return f"not in the paper's table, published values from {paper.short_source(row)}{details}"


def _imagenet_rows(pretrainings: list[Result], profiles: list[Result]) -> list[Row]:
    rows = []
    target = VIEWS["imagenet"].datasets[0]
    mine = [p for p in pretrainings if (p["stands_for"] or p["dataset"]) == target]
    published = paper.rows_of("supplement")
    for row in published:
        matching = [p for p in mine if p["backbone"] == row.model]
        rows += [_top1_row(p, row, profiles) for p in matching or [None]]
    known = {row.model for row in published}
    return rows + [_top1_row(p, None, profiles) for p in mine if p["backbone"] not in known]


def _top1_row(result: Result | None, row: PaperRow | None, profiles: list[Result]) -> Row:
    """A classifier's row; its key is the backbone's, its costs those of the model of that name."""
    model = result["backbone"] if result else row.model if row else ""
    dataset = VIEWS["imagenet"].datasets[0]
    profile = next((p for p in profiles if p.get("backbone", p["model"]) == model), None)
    cells = dict.fromkeys(COLUMNS, "") | {"dataset": dataset, "model": model}
    cells["encoder"] = row.encoder if row else model
    cells |= _costs(profile, cell_for(profile, [dataset], row.input if row else ""))
    cells |= _published(row)
    notes = row.note.split("; ") if row and row.note else []
    if result is not None:
        cells |= {"dataset": result["dataset"], "top1": number(100 * result["top1"])}
        cells |= {"seeds": "1", "train_crop": by(result["input_size"])}
        notes = [SCENES] * result["scenes"] + [RECONSTRUCTED, *notes]
    cells["note"] = "; ".join(notes)
    return cells


def _cell_row(profile: Result, cell: Result) -> Row:
    """A row of the efficiency table; published costs only where they are for the same input."""
    published = paper.find(profile["model"], cell["dataset"])
    same = published is not None and published.input.split(" ")[0] == cell_size(cell)
    cells = dict.fromkeys(COLUMNS, "")
    cells |= {"dataset": cell["dataset"], "model": profile["model"], "encoder": profile["encoder"]}
    cells |= _costs(profile, cell)
    if published is not None and same:
        cells |= _published(published) | {"miou_paper": "", "top1_paper": ""}
        own = published.table == paper.OWN
        cells["note"] = _lacking_note(published) if own else published.note
    return cells
