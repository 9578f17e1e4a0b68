"""Which rows every table has: the paper's tables as views, efficiency, one table per dataset."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lemore.reporting.tables import paper, significance
from lemore.reporting.tables.results import Result, Score, names, scores
from lemore.reporting.tables.rows import IMAGENET, Row, cell_row, segmentation_row, top1_row


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
    "detection": View(
        "6", "Object detection on COCO with RetinaNet (the paper's Table 6)", ("coco_detection",)
    ),
    "imagenet": View(
        "supplement", "ImageNet-1K classification (the paper's supplement)", (IMAGENET,)
    ),
    "efficiency": View("", "Parameters, MACs and latency of every profiled model", ()),
}


def build(
    name: str,
    evaluations: list[Result],
    profiles: list[Result],
    pretrainings: list[Result],
    pairs: Sequence[significance.Pair] = (),
) -> list[Row]:
    """Rows of table `name`: a view or a dataset of the results. ValueError if it is neither.

    pairs: which models are better than which, noted in the rows of the better ones.
    """
    if name == "efficiency":
        return [cell_row(p, cell) for p in profiles for cell in p["cells"]]
    if name == "imagenet":
        return _imagenet_rows(pretrainings, profiles)
    measured = _judged(evaluations, pairs)
    if name in VIEWS:
        return _view_rows(name, measured, profiles)
    mine = [score for score in measured if score.dataset == name]
    if mine:
        return [segmentation_row(s.model, s.target, s, None, profiles) for s in mine]
    rows = [top1_row(p, None, profiles) for p in pretrainings if p["dataset"] == name]
    if not rows:
        views = ", ".join(VIEWS)
        raise ValueError(f"table '{name}' is neither one of {views} nor a dataset of the results")
    return rows


def _judged(evaluations: list[Result], pairs: Sequence[significance.Pair]) -> list[Score]:
    """The scores, with what the significance tables say of them: of models in one configuration,
    since they know no other."""
    printed = names(evaluations)
    return [
        s
        if s.apart
        else replace(
            s, verdicts=significance.notes(s.dataset, s.model, s.test_mode, list(pairs), printed)
        )
        for s in scores(evaluations)
    ]


def _view_rows(name: str, scores: list[Score], profiles: list[Result]) -> list[Row]:
    """The paper's rows in its order, then those it lacks."""
    view = VIEWS[name]
    published = paper.rows_of(view.table)
    measured = [score for score in scores if score.target in view.datasets]
    known = {(row.model, row.dataset): row for row in published}
    lacking = _lacking(measured, profiles, view, name == "ablation")
    rows = []
    for model, dataset in (*known, *(pair for pair in lacking if pair not in known)):
        matching = [s for s in measured if (s.model, s.target) == (model, dataset)]
        row = known.get((model, dataset))
        for score in matching or [None]:
            rows.append(segmentation_row(model, dataset, score, row, profiles))
    return rows


def _lacking(
    measured: list[Score], profiles: list[Result], view: View, ablation: bool
) -> list[tuple[str, str]]:
    """(model, dataset) of LeMoRe's nearest rivals, which the paper leaves out, and of everything
    measured for a view; ablation rows only for the ablation."""
    found = [(row.model, row.dataset) for row in paper.load() if paper.is_rival(row.model)]
    found += [(score.model, score.target) for score in measured]
    for profile in profiles:
        found += [(profile["model"], cell["dataset"]) for cell in profile["cells"]]
    kept = [
        (model, dataset)
        for model, dataset in dict.fromkeys(found)
        if dataset in view.datasets and paper.is_ablation(model) == ablation
    ]
    return sorted(kept, key=lambda pair: view.datasets.index(pair[1]))


def _imagenet_rows(pretrainings: list[Result], profiles: list[Result]) -> list[Row]:
    rows = []
    mine = [p for p in pretrainings if (p["stands_for"] or p["dataset"]) == IMAGENET]
    published = paper.rows_of("supplement")
    for row in published:
        matching = [p for p in mine if p["backbone"] == row.model]
        rows += [top1_row(p, row, profiles) for p in matching or [None]]
    known = {row.model for row in published}
    return rows + [top1_row(p, None, profiles) for p in mine if p["backbone"] not in known]
