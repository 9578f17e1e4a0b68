"""Published numbers: the paper's tables and what other sources print for the same models.

`paper.csv` holds them as text, exactly as published; nothing in it was measured by this project.
Its column `table` is 1 to 6 or `supplement` for the paper's own rows, and `own` for a row from the
model's own authors or from another publication. Datasets and models go by their keys.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PATH = Path(__file__).parents[1] / "paper.csv"
OWN = "own"
PAPER = "LeMoRe ICIP 2025"
RIVALS = ("topformer", "seaformer")  # of LeMoRe's lineage and size, missing in its tables
ABLATION = re.compile(r"lemore_[tfl]+(_ca)?(_na)?")


@dataclass(frozen=True)
class PaperRow:
    """One published row. miou and top1 in percent, latency in ms; empty where nothing is printed.

    group: the heading under which the paper puts the row, if it has one.
    note: remarks on this row, separated by "; "; one that begins with "paper's mIoU", "paper's
    params" and so on is about that number.
    """

    table: str
    dataset: str
    model: str
    label: str
    encoder: str
    miou: str
    gflops: str
    params_m: str
    latency_ms: str
    top1: str
    group: str
    input: str
    source: str
    note: str


@cache
def load() -> tuple[PaperRow, ...]:
    """All published rows, in the order of the file."""
    with open(PATH, newline="", encoding="utf-8") as file:
        return tuple(PaperRow(**row) for row in csv.DictReader(file))


def rows_of(table: str) -> list[PaperRow]:
    """Rows of one table of the paper ("1" to "6", "supplement"), in its order."""
    return [row for row in load() if row.table == table]


def find(model: str, dataset: str) -> PaperRow | None:
    """The paper's row of a model on a dataset; failing that, the first row of another source."""
    rows = [row for row in load() if (row.model, row.dataset) == (model, dataset)]
    return min(rows, key=lambda row: row.table == OWN, default=None)


def behind(row: Mapping[str, str]) -> PaperRow | None:
    """The published row from which a table's row has its numbers, None if it has none."""
    place = (row["source_paper"], row["model"], row["dataset"].removesuffix("_scenes"))
    return next((r for r in load() if (r.source, r.model, r.dataset) == place), None)


def elsewhere(model: str, dataset: str, beside: PaperRow | None) -> str:
    """Values that other sources print, where they differ from the row `beside` by more than the
    digits that it leaves out; "" if none do."""
    values = []
    for row in load():
        same = (row.table, row.model, row.dataset) == (OWN, model, dataset)
        if same and row != beside and not (beside and _rounded_to(row.miou, beside.miou)):
            details = [row.note] if row.note else []
            values.append(f"{row.miou} ({', '.join([*details, short_source(row)])})")
    return f"mIoU published elsewhere: {', '.join(values)}" if values else ""


def _rounded_to(value: str, other: str) -> bool:
    """Whether `value` is `other` at the latter's number of decimals."""
    decimals = len(other.partition(".")[2])
    return f"{float(value):.{decimals}f}" == other


def short_source(row: PaperRow) -> str:
    """The source as it is printed: "Table 1 row 7" of the paper, "TopFormer README" of others."""
    return re.split(r" \(|;|:", row.source.removeprefix(f"{PAPER} "))[0]


def is_rival(model: str) -> bool:
    """Whether a model belongs beside LeMoRe in every table for which numbers are published."""
    return model.startswith(RIVALS)


def is_ablation(model: str) -> bool:
    """Whether a model is a row of the ablation, such as `lemore_tfl_ca`."""
    return ABLATION.fullmatch(model) is not None


def label_of(model: str, source: str) -> str:
    """Label of a published model as the table that `source` names prints it, else as any does.

    The paper calls one network "FCN-8s" in Table 1 and "FCN" in Table 3. "" if never published.
    """
    rows = [row for row in load() if row.model == model]
    best = min(rows, key=lambda row: (row.source != source, row.table == OWN), default=None)
    return printed_label(best) if best else ""


def printed_label(row: PaperRow) -> str:
    """Label without the batch size that some sources put behind it."""
    return re.sub(r" \dx\d$", "", row.label)
