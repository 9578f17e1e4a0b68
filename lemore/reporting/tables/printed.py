"""Tables laid out for reading, before any format: columns, cells, marks, footnotes.

Columns that are empty everywhere are dropped; those with one value everywhere become a fact of the
caption; differences to the published values are added. writers.py writes them as Markdown and
LaTeX, pages/report.py as HTML.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lemore.reporting.tables import paper
from lemore.reporting.tables.columns import COUNTS, MEASURES, NUMBERS
from lemore.reporting.tables.paper import VIEWS

SCENES_SYMBOL = "†"
LACKING = "Not in the paper's table"


@dataclass(frozen=True)
class Column:
    """The printed form of a column.

    decimals: of a measured number; None: text as it is. group, short: the header in two lines,
    for where columns that belong together stand under one heading.
    """

    header: str
    decimals: int | None = None
    group: str = ""
    short: str = ""


PRINTED = {
    "dataset": Column("Dataset"),
    "model": Column("Model"),
    "encoder": Column("Encoder"),
    "miou": Column("mIoU (%)", 2, "mIoU (%)", "measured"),
    "miou_paper": Column("mIoU published", None, "mIoU (%)", "publ."),
    "miou_difference": Column("mIoU difference", None, "mIoU (%)", "diff."),
    "ap": Column("AP (%)", 2, "AP (%)", "measured"),
    "ap_paper": Column("AP published", None, "AP (%)", "publ."),
    "ap_difference": Column("AP difference", None, "AP (%)", "diff."),
    "ap50": Column("AP50 (%)", 2),
    "ap75": Column("AP75 (%)", 2),
    "ap_s": Column("AP small (%)", 2),
    "ap_m": Column("AP medium (%)", 2),
    "ap_l": Column("AP large (%)", 2),
    "top1": Column("Top-1 (%)", 2, "Top-1 (%)", "measured"),
    "top1_paper": Column("Top-1 published", None, "Top-1 (%)", "publ."),
    "top1_difference": Column("Top-1 difference", None, "Top-1 (%)", "diff."),
    "top5": Column("Top-5 (%)", 2),
    "gmacs": Column("GMACs", 2, "GMACs", "counted"),
    "gmacs_fvcore": Column("GMACs fvcore", 2, "GMACs", "fvcore"),
    "gflops_paper": Column("GFLOPs published", None, "GMACs", "publ."),
    "gmacs_difference": Column("GMACs difference", None, "GMACs", "diff."),
    "params_m": Column("Params (M)", 2, "Params (M)", "counted"),
    "params_m_with_aux": Column("Params with aux (M)", 2, "Params (M)", "with aux"),
    "params_m_paper": Column("Params published (M)", None, "Params (M)", "publ."),
    "params_difference": Column("Params difference (M)", None, "Params (M)", "diff."),
    "latency_ms_p50": Column("Latency p50 (ms)", 1, "Latency (ms)", "p50"),
    "latency_ms_p95": Column("Latency p95 (ms)", 1, "Latency (ms)", "p95"),
    "latency_ms_paper": Column("Latency published (ms)", None, "Latency (ms)", "publ."),
    "seeds": Column("Seeds"),
    "profile_size": Column("Costs at"),
    "train_crop": Column("Train crop"),
    "num_classes": Column("Classes"),
    "device": Column("Device"),
    "published_in": Column("Published in"),
}
FACTS = ("seeds", "profile_size", "train_crop", "num_classes", "device")
# the column for remarks that begin like this; all others belong to the model
PLACES = {
    "paper's mIoU": "miou_paper",
    "mIoU published elsewhere": "miou_paper",
    "paper's GFLOPs": "gflops_paper",
    "paper's params": "params_m_paper",
    "paper's latency": "latency_ms_paper",
    "top-5": "top5",
    "latency unsteady": "latency_ms_p50",
    "better than": "miou",
    "not significantly better than": "miou",
}
WITH_AUX = "paper's params include the training-only auxiliary head"
LARGER_IS_BETTER = dict.fromkeys(("miou", *MEASURES, "top1", "top5"), True) | dict.fromkeys(
    ("gmacs", "gmacs_fvcore", "params_m", "latency_ms_p50"), False
)
# difference: column of measured values, column of published ones
DIFFERENCES = {
    "miou_difference": ("miou", "miou_paper"),
    "ap_difference": ("ap", "ap_paper"),
    "top1_difference": ("top1", "top1_paper"),
    "gmacs_difference": ("gmacs", "gflops_paper"),
    "params_difference": ("params_m", "params_m_paper"),
}


@dataclass(frozen=True)
class Cell:
    """text is "" where nothing is known; mark is "", "best" or "second"; symbols are footnotes.

    value: the number that the text stands for, None for words.
    """

    text: str
    mark: str = ""
    symbols: tuple[str, ...] = ()
    value: float | None = None


@dataclass(frozen=True)
class PrintedTable:
    """A table ready to be written: `header[i]` heads `rows[:][i]`, `columns[i]` is its key.

    sections: (index of its first row, heading or "") of each part of the rows. footnotes: (symbol,
    text).
    """

    name: str
    title: str
    scenes: bool
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    header: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sections: tuple[tuple[int, str], ...] = ((0, ""),)
    footnotes: tuple[tuple[str, str], ...] = ()

    def is_text(self, column: int) -> bool:
        """Returns whether a column is aligned as text: none of its cells is a number."""
        return all(row[column].value is None for row in self.rows)


def find_scenes(table: pd.DataFrame) -> pd.Series:
    """Returns for each row whether its measured numbers come from drawn scenes."""
    return table["note"].str.startswith("scenes")


def label_rows(table: pd.DataFrame, measured: Mapping[str, str]) -> list[str]:
    """Returns the printed name of each row's model. measured: the run's labels, by key."""
    labels = []
    for model, source in zip(table["model"], table["source_paper"], strict=True):
        published = paper.find_label(model, source)
        from_paper = source.startswith(paper.PAPER) and published
        labels.append(from_paper or measured.get(model) or published or model)
    return labels


def lay_out(
    name: str, dataset_title: str, table: pd.DataFrame, measured: Mapping[str, str], run: str
) -> PrintedTable:
    """Lays out a table for printing.

    dataset_title: printed name of a table's dataset, "" for its key or for views. measured:
    labels of the run's models, by key.
    """
    marks, table = mark_best(table), _compare_with_published(table)
    columns, facts = _choose_columns(name, table)
    texts = table.assign(model=label_rows(table, measured))
    rows = texts.to_dict("records")
    placed = [_place_remarks(row, columns) for row in rows]
    remarks = dict.fromkeys(note for row in placed for notes in row.values() for note in notes)
    # the dagger for scenes, then a, b, c
    symbols = {note: SCENES_SYMBOL for note in remarks if note.startswith("scenes")}
    letters = (note for note in list(remarks) if note not in symbols)
    symbols |= {note: _make_letters(i) for i, note in enumerate(letters)}
    cells = []
    for i, (row, remarks) in enumerate(zip(rows, placed, strict=True)):
        line = []
        for column in columns:
            mark = str(marks.at[i, column]) if column in marks else ""
            own = tuple(symbols[note] for note in remarks.get(column, ()))
            line.append(_make_cell(row, column, PRINTED[column], mark, own))
        cells.append(tuple(line))
    return PrintedTable(
        name=name,
        title=VIEWS[name].title if name in VIEWS else f"Results on {dataset_title or name}",
        scenes=bool(find_scenes(table).any()),
        facts=(f"run {run}", *facts),
        columns=tuple(columns),
        header=tuple(PRINTED[column] for column in columns),
        rows=tuple(cells),
        sections=_find_sections(name, table),
        footnotes=tuple((symbol, text) for text, symbol in symbols.items()),
    )


def mark_best(table: pd.DataFrame) -> pd.DataFrame:
    """Marks measured values as "best" and "second", all others as "".

    Only like is compared with like: accuracies of one dataset, parameters and MACs at one size,
    latencies on one device as well.
    """
    dataset = table["dataset"]
    sized = [dataset.str.removesuffix("_scenes"), table["profile_size"]]
    marks = {}
    for column, larger in LARGER_IS_BETTER.items():
        timed = [table["device"]] if column == "latency_ms_p50" else []
        groups = [dataset] if larger else [*sized, *timed]
        marks[column] = table.groupby(groups)[column].transform(rank_best, larger=larger)
    return pd.DataFrame(marks, index=table.index)


def rank_best(values: pd.Series, larger: bool) -> pd.Series:
    """Ranks values as "best" and "second", all others and nan as ""; ties share a mark.

    Equal values alone have none. larger: whether the larger value is the better one.
    """
    ranks = values.rank(method="dense", ascending=not larger)
    names = {1: "best", 2: "second"} if values.nunique() > 1 else {}
    return ranks.map(lambda rank: names.get(rank, ""))


def _compare_with_published(table: pd.DataFrame) -> pd.DataFrame:
    """Adds to a table its differences to the published values, and short sources.

    Only like is compared with like: accuracies on the real dataset, MACs at the published input
    size, parameters with the auxiliary head where the published ones include it.
    """
    places = table[["source_paper", "model", "dataset"]].itertuples(index=False)
    published = [paper.find_source(*place) for place in places]
    with_aux = table["note"].str.contains(WITH_AUX, regex=False)
    own = table.assign(params_m=table["params_m_with_aux"].where(with_aux, table["params_m"]))
    differences = {}
    for column, (measured, theirs) in DIFFERENCES.items():
        values = own[measured] - table[theirs].where(table[theirs] != "").astype(float)
        differences[column] = values.map(lambda value: round(value, 2) + 0.0)  # no negative zero
    is_real = ~find_scenes(table)
    is_same_size = table["profile_size"] == [row.input_size if row else "" for row in published]
    likes = {"miou": is_real, "ap": is_real, "top1": is_real, "gmacs": is_same_size}
    for name, is_like in likes.items():
        column = f"{name}_difference"
        differences[column] = differences[column].where(is_like)
    sources = [row.short_source if row else "" for row in published]
    return table.assign(**differences, published_in=sources)


def _choose_columns(name: str, table: pd.DataFrame) -> tuple[list[str], tuple[str, ...]]:
    """Chooses the columns to print, and the facts that hold for all rows."""
    columns, facts = [], []
    targets = table["dataset"].str.removesuffix("_scenes").nunique()
    for column, kind in PRINTED.items():
        values = list(dict.fromkeys(filter(_is_known, table[column])))
        if column == "dataset" and targets < 2 and name != "efficiency":
            continue
        if column in FACTS and len(values) == 1:
            facts.append(f"{kind.header.lower()} {values[0]}")
        elif len(values):
            columns.append(column)
    return columns, tuple(facts)


def _is_known(value: Any) -> bool:
    return not pd.isna(value) and value != ""


def _place_remarks(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, list[str]]:
    """Assigns a row's remarks to the columns that they are about, in the columns' order."""
    found: dict[str, list[str]] = {}
    for note in row["note"].split("; ") if row["note"] else []:
        place = next((c for begin, c in PLACES.items() if note.startswith(begin)), "model")
        if note.startswith("scenes"):
            place = next((c for c in ("top1", "ap") if _is_known(row[c])), "miou")
        place = place if place in columns and _is_known(row[place]) else "model"
        found.setdefault(place, []).append(note)
        if place == "top1" and _is_known(row["top5"]):
            found.setdefault("top5", []).append(note)
    return {column: found[column] for column in columns if column in found}


def _make_letters(index: int) -> str:
    """a to z, then aa, ab, ..."""
    letter = chr(ord("a") + index % 26)
    return letter if index < 26 else _make_letters(index // 26 - 1) + letter


def _find_sections(name: str, table: pd.DataFrame) -> tuple[tuple[int, str], ...]:
    """Finds the rows of the paper's headings, and the first row that its table lacks."""
    if name not in VIEWS or not VIEWS[name].table:
        return ((0, ""),)
    known = {(row.model, row.dataset): row.group for row in paper.list_rows(VIEWS[name].table)}
    places = zip(table["model"], table["dataset"].str.removesuffix("_scenes"), strict=True)
    headings = [known.get(place, LACKING) for place in places]
    starts = [i for i in range(len(headings)) if not i or headings[i] != headings[i - 1]]
    return tuple((i, headings[i]) for i in starts)


def _make_cell(
    row: Mapping[str, Any], column: str, kind: Column, mark: str, symbols: tuple[str, ...]
) -> Cell:
    value = row[column]
    if not _is_known(value):
        return Cell("", mark, symbols)
    is_number = column in (*NUMBERS, *COUNTS) or column.endswith(("_paper", "_difference"))
    text = str(value) if kind.decimals is None else f"{value:.{kind.decimals}f}"
    if column in ("miou", "ap") and _is_known(row[f"{column}_sd"]):
        text += f" ± {row[f'{column}_sd']:.2f}"
    if column.endswith("_difference"):
        text = f"{value:+.2f}".replace("-", "\N{MINUS SIGN}") if value else "0.00"
    return Cell(text, mark, symbols, float(value) if is_number else None)
