"""The table of classes: IoU of every class for every model of one dataset, as people read it."""

import numpy as np

from lemore.reporting.figures.classes import by_model, mean_over_seeds
from lemore.reporting.figures.style import SCENES_TEXT
from lemore.reporting.tables.columns import Column
from lemore.reporting.tables.marks import ranked
from lemore.reporting.tables.printed import Cell, Printed
from lemore.reporting.tables.results import Result


def lay_out(evaluations: list[Result], dataset_title: str, run: str) -> Printed:
    """A row per class in the order of train ids; best and second best model of each are marked.

    A class that is in no label and no prediction has empty cells. ValueError if the results are
    of several datasets.
    """
    first = evaluations[0]
    means = {name: mean_over_seeds(values) for name, values in by_model(evaluations).items()}
    pixels = np.asarray(first["confusion"], dtype=float).sum(axis=1)
    shares = 100 * pixels / max(pixels.sum(), 1)
    facts = [f"run {run}", f"split {first['split']}, {first['images']} images"]
    facts += ["mean over seeds"] if len(evaluations) > len(means) else []
    facts += [SCENES_TEXT] if any(result["scenes"] for result in evaluations) else []
    return Printed(
        name=f"{first['dataset']}_classes",
        title=f"IoU by class on {dataset_title or first['dataset']} (%)",
        scenes=False,
        facts=tuple(facts),
        columns=("class", "share", *(f"iou {name}" for name in means)),
        header=(Column("Class"), Column("Share of pixels"), *map(Column, means)),
        rows=tuple(
            _row(name, shares[k], [float(values[k]) for values in means.values()])
            for k, name in enumerate(first["classes"])
        ),
        sections=((0, ""),),
        footnotes=(),
    )


def _row(name: str, share: float, values: list[float]) -> tuple[Cell, ...]:
    marks = ranked({i: value for i, value in enumerate(values) if value > 0}, larger=True)
    cells = [_cell(value, marks.get(i, "")) for i, value in enumerate(values)]
    return (Cell(name, "", (), None), Cell(f"{share:.2f}", "", (), share), *cells)


def _cell(value: float, mark: str) -> Cell:
    return Cell("", "", (), None) if np.isnan(value) else Cell(f"{value:.2f}", mark, (), value)
