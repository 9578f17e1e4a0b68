"""Published numbers: the paper's tables and what other sources print for the same models.

`paper.csv` holds them as text, exactly as published; nothing in it was measured by this project.
Its column `table` is 1 to 6 or `supplement` for the paper's own rows, and `own` for a row from the
model's own authors or from another publication. Datasets and models go by their keys.
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PATH = Path(__file__).with_name("paper.csv")
OWN = "own"
ABLATION = re.compile(r"lemore_[tfl]+(_ca)?(_na)?")


@dataclass(frozen=True)
class PaperRow:
    """One published row. miou and top1 in percent, latency in ms; empty where nothing is printed.

    note: remarks on this row, separated by "; ".
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


def elsewhere(model: str, dataset: str, beside: PaperRow | None) -> str:
    """Values that other sources print, where they differ from the row `beside`; "" if none do."""
    values = []
    for row in load():
        same = (row.table, row.model, row.dataset) == (OWN, model, dataset)
        if same and row != beside and (beside is None or row.miou != beside.miou):
            details = [row.note] if row.note else []
            values.append(f"{row.miou} ({', '.join([*details, short_source(row)])})")
    return f"mIoU published elsewhere: {', '.join(values)}" if values else ""


def short_source(row: PaperRow) -> str:
    """The source without its remarks: "TopFormer README" of "TopFormer README (hustvl/...)"."""
    return re.split(r" \(|;|:", row.source)[0]


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
