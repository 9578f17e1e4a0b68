"""Single rows of the tables: what was measured, what it costs, what is published, what to note.

A row is a mapping from `COLUMNS` to text, empty where nothing was measured or published. Measured
numbers come from result files alone, published ones from paper.csv alone. Parameters, MACs and
latency are those of the paper-size model, whatever the run trained: `profile_size` says which.
"""

from lemore.reporting.tables import paper
from lemore.reporting.tables.paper import PaperRow
from lemore.reporting.tables.results import Result, Score, by, cell_for, cell_size, number

COLUMNS = [
    "dataset", "model", "encoder", "seeds", "miou", "miou_sd", "miou_paper", "top1",
    "top1_paper", "top5", "gmacs", "gmacs_fvcore", "gflops_paper", "params_m", "params_m_with_aux",
    "params_m_paper", "latency_ms_p50", "latency_ms_p95", "latency_ms_paper", "profile_size",
    "train_crop", "num_classes", "device", "source_paper", "note",
]  # fmt: skip
SCENES = "scenes: measured on scenes that the project draws, not on the real dataset"
RECIPES = {
    "own recipe": "own recipe: trained as its authors train it",
    "common recipe": "common recipe: trained with LeMoRe's recipe",
}
FROM_SCRATCH = "from scratch: trained without ImageNet pretraining"
TOP5 = "top-5 as measured here: the paper publishes none"
RECONSTRUCTED = "recipe reconstructed: the paper gives none for ImageNet"
IMAGENET = "imagenet_1k"
UNSTEADY = 1.5  # p95 to p50 from which a remark is made
DEFAULT_COSTS = "ade20k"  # whose costs to print for a dataset that the paper does not use

Row = dict[str, str]


def segmentation_row(
    model: str, dataset: str, score: Score | None, row: PaperRow | None, profiles: list[Result]
) -> Row:
    """A model on a dataset: measured if there is a score, published if it is anywhere.

    row: the row of the paper's table that this one stands in, None if it has none.
    """
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
    if published is not None and not cells["encoder"]:
        cells["encoder"] = published.encoder
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
        notes += [FROM_SCRATCH] if score.from_scratch else []
        notes += [f"test mode {score.test_mode}"] if score.test_mode != "whole" else []
        notes += [*score.apart, *score.verdicts]
    if score is not None and cell is not None and cell["num_classes"] != score.num_classes:
        classes = f"{cell['num_classes']} classes ({cell['dataset']})"
        notes += [f"params, MACs and latency counted with {classes}"]
    notes += _unsteady(cell)
    if row is None and published is not None and published.table == paper.OWN:
        notes += [_lacking_note(published)]
    if published is not None and published.table != paper.OWN and published.note:
        notes += published.note.split("; ")
    other = paper.elsewhere(model, dataset, published)
    return [*notes, other] if other else notes


def _lacking_note(row: PaperRow) -> str:
    details = f" ({row.note})" if row.note else ""
    return f"not in the paper's table, published values from {paper.short_source(row)}{details}"


def top1_row(result: Result | None, row: PaperRow | None, profiles: list[Result]) -> Row:
    """A classifier's row; its key is the backbone's, its costs those of the model of that name."""
    model = result["backbone"] if result else row.model if row else ""
    dataset = IMAGENET
    profile = next((p for p in profiles if p.get("backbone", p["model"]) == model), None)
    cells = dict.fromkeys(COLUMNS, "") | {"dataset": dataset, "model": model}
    cells["encoder"] = row.encoder if row else (profile or {}).get("encoder", model)
    cell = cell_for(profile, [dataset], row.input if row else "")
    cells |= _costs(profile, cell)
    cells |= _published(row)
    notes = [*(row.note.split("; ") if row and row.note else []), *_unsteady(cell)]
    if result is not None:
        cells |= {"dataset": result["dataset"], "top1": number(100 * result["top1"])}
        cells |= {"top5": number(100 * result["top5"])}
        cells |= {"seeds": "1", "train_crop": by(result["input_size"])}
        notes = [SCENES] * result["scenes"] + [RECONSTRUCTED, TOP5, *notes]
    cells["note"] = "; ".join(notes)
    return cells


def cell_row(profile: Result, cell: Result) -> Row:
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
    cells["note"] = "; ".join([*filter(None, [cells["note"]]), *_unsteady(cell)])
    return cells


def _unsteady(cell: Result | None) -> list[str]:
    """The remark on a latency that other work on the machine has disturbed."""
    latency = cell["latency"] if cell else None
    if latency is None or latency["p95_ms"] <= UNSTEADY * latency["p50_ms"]:
        return []
    return [f"latency unsteady (p95 over {UNSTEADY} times p50): a busy machine? measure again"]
