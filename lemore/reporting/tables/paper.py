"""Published numbers: the paper's tables and what other sources print for the same models.

`paper.csv` holds them as text, exactly as published; nothing in it was measured by this project.
Its column `table` is 1 to 6 or `supplement` for the paper's own rows, and `own` for a row from the
model's own authors or from another publication. Datasets and models are given by their keys.
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PATH = Path(__file__).parents[1] / "paper.csv"
OWN = "own"
PAPER = "LeMoRe ICIP 2025"
IMAGENET = "imagenet_1k"
RIVALS = ("topformer", "seaformer")  # of LeMoRe's lineage and size, missing in its tables
ABLATION = re.compile(r"lemore_[tfl]+(_ca)?(_na)?")


@dataclass(frozen=True)
class PaperRow:
    """One published row. miou (of detectors AP) and top1 in percent, latency in ms; empty where
    nothing is printed.

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

    @property
    def input_size(self) -> str:
        """The input as "HxW", without remarks."""
        return self.input.split(" ")[0]

    @property
    def notes(self) -> list[str]:
        """The remarks to print; that of a row from elsewhere says where its values come from."""
        if self.table == OWN:
            details = f" ({self.note})" if self.note else ""
            return [f"not in the paper's table, published values from {self.short_source}{details}"]
        return self.note.split("; ") if self.note else []

    @property
    def short_source(self) -> str:
        """The printed source: "Table 1 row 7" of the paper, "TopFormer README" of others."""
        return re.split(r" \(|;|:", self.source.removeprefix(f"{PAPER} "))[0]

    @property
    def printed_label(self) -> str:
        """The label without the batch size that some sources put behind it."""
        return re.sub(r" \dx\d$", "", self.label)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper: its number there, its subject, its datasets."""

    table: str
    subject: str
    datasets: tuple[str, ...]

    @property
    def title(self) -> str:
        place = f"Table {self.table}" if self.table.isdigit() else self.table
        return f"{self.subject} (the paper's {place})" if place else self.subject


PASCAL = ("pascal_context_59", "pascal_context_60")
DETECTION = "coco"
VIEWS = {
    "ade20k": PaperTable("1", "Results on ADE20K val", ("ade20k",)),
    "ablation": PaperTable("2", "Ablation on ADE20K val", ("ade20k",)),
    "cityscapes": PaperTable("3", "Results on Cityscapes val", ("cityscapes",)),
    "pascal_context": PaperTable("4", "Results on PASCAL Context", PASCAL),
    "coco_stuff": PaperTable("5", "Results on COCO-Stuff 10K", ("coco_stuff_10k",)),
    "detection": PaperTable("6", "Object detection on COCO with RetinaNet", (DETECTION,)),
    "imagenet": PaperTable("supplement", "ImageNet-1K classification", (IMAGENET,)),
    "efficiency": PaperTable("", "Parameters, MACs and latency of every profiled model", ()),
}


@cache
def load_rows() -> tuple[PaperRow, ...]:
    """Reads all published rows, in the order of the file."""
    with open(PATH, newline="", encoding="utf-8") as file:
        return tuple(PaperRow(**row) for row in csv.DictReader(file))


def list_rows(table: str) -> list[PaperRow]:
    """Lists the rows of one table of the paper ("1" to "6", "supplement"), in its order."""
    return [row for row in load_rows() if row.table == table]


def find_row(model: str, dataset: str) -> PaperRow | None:
    """Finds the paper's row for a model on a dataset, else the first row of another source."""
    rows = [row for row in load_rows() if (row.model, row.dataset) == (model, dataset)]
    return min(rows, key=lambda row: row.table == OWN, default=None)


def find_source(source: str, model: str, dataset: str) -> PaperRow | None:
    """Finds a source's row for a model on a dataset, or on the scenes in its place."""
    place = (source, model, dataset.removesuffix("_scenes"))
    rows = load_rows()
    return next((row for row in rows if (row.source, row.model, row.dataset) == place), None)


def quote_others(model: str, dataset: str, beside: PaperRow | None) -> list[str]:
    """Returns a remark with the values that other sources print, if any do.

    A value that equals that of the row `beside`, with more digits, is left out.
    """
    values = []
    for row in load_rows():
        same = (row.table, row.model, row.dataset) == (OWN, model, dataset)
        if same and row != beside and not (beside and _is_rounded(row.miou, beside.miou)):
            values.append(f"{row.miou} ({', '.join(filter(None, [row.note, row.short_source]))})")
    return [f"mIoU published elsewhere: {', '.join(values)}"] if values else []


def _is_rounded(value: str, other: str) -> bool:
    """Returns whether `other` is `value` with fewer decimals."""
    decimals = len(other.partition(".")[2])
    return f"{float(value):.{decimals}f}" == other


def is_rival(model: str) -> bool:
    """Returns whether a model belongs beside LeMoRe in every table with published numbers of it."""
    return model.startswith(RIVALS)


def is_ablation(model: str) -> bool:
    """Returns whether a model is a row of the ablation, such as `lemore_tfl_ca`."""
    return ABLATION.fullmatch(model) is not None


def find_label(model: str, source: str) -> str:
    """Finds the label of a published model in the table that `source` names, else in any.

    The paper calls one network "FCN-8s" in Table 1 and "FCN" in Table 3. "" if never published.
    """
    rows = [row for row in load_rows() if row.model == model]
    best = min(rows, key=lambda row: (row.source != source, row.table == OWN), default=None)
    return best.printed_label if best else ""
