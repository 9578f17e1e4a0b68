"""The table of classes: IoU, or AP, of every class for every model of one dataset."""

import numpy as np
import pandas as pd

from lemore.reporting.figures.classes import average_seeds, stack_by_model
from lemore.reporting.figures.style import SCENES_TEXT
from lemore.reporting.tables.printed import Cell, Column, PrintedTable, rank_best
from lemore.reporting.tables.results import Result


def lay_out(evaluations: list[Result], dataset_title: str, run: str) -> PrintedTable:
    """Lays out a row per class in the order of train ids; marks each one's two best models.

    A class that is in no label and no prediction, or of which there is no object, has empty cells.
    ValueError if the results are of several datasets.
    """
    first = evaluations[0]
    measure, key = ("IoU", "iou") if "iou" in first else ("AP", "ap_by_class")
    stacked = stack_by_model(evaluations, key)
    means = {name: average_seeds(values) for name, values in stacked.items()}
    columns, header = ["class"], [Column("Class")]
    rows = [[Cell(name)] for name in first["classes"]]
    if "confusion" in first:
        pixels = np.asarray(first["confusion"], dtype=float).sum(axis=1)
        shares = 100 * pixels / max(pixels.sum(), 1)
        columns.append("share")
        header.append(Column("Share of pixels"))
        rows = [[*row, _make_cell(share, "")] for row, share in zip(rows, shares, strict=True)]
    facts = [f"run {run}", f"split {first['split']}, {first['images']} images"]
    facts += ["mean over seeds"] if len(evaluations) > len(means) else []
    facts += [SCENES_TEXT] if any(result["scenes"] for result in evaluations) else []
    for k, row in enumerate(rows):
        values = pd.Series([float(values[k]) for values in means.values()])
        marks = rank_best(values.where(values > 0), larger=True)
        row += [_make_cell(v, m) for v, m in zip(values, marks, strict=True)]
    return PrintedTable(
        name=f"{first['dataset']}_classes",
        title=f"{measure} by class on {dataset_title or first['dataset']} (%)",
        scenes=False,
        facts=tuple(facts),
        columns=(*columns, *(f"{measure.lower()} {name}" for name in means)),
        header=(*header, *map(Column, means)),
        rows=tuple(map(tuple, rows)),
    )


def _make_cell(value: float, mark: str) -> Cell:
    return Cell("") if np.isnan(value) else Cell(f"{value:.2f}", mark, (), value)
