"""Tables as people read them, before any format: columns, cells, marks, footnotes.

Columns that are empty everywhere are dropped; those with one value everywhere become a fact of the
caption. Written out by writers.py (Markdown, LaTeX) and report.py (HTML).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lemore.reporting import paper
from lemore.reporting.tables import VIEWS, Row

SCENES_SYMBOL = "†"
SCENES_CAPTION = "scenes: values marked † were measured on drawn scenes, not on the real dataset"

# column -> (header, decimals of a measured number; None: text as it is)
HEADERS: dict[str, tuple[str, int | None]] = {
    "dataset": ("Dataset", None),
    "model": ("Model", None),
    "encoder": ("Encoder", None),
    "miou": ("mIoU (%)", 2),
    "miou_paper": ("mIoU paper", None),
    "top1": ("Top-1 (%)", 2),
    "top1_paper": ("Top-1 paper", None),
    "gmacs": ("GMACs", 2),
    "gmacs_fvcore": ("GMACs fvcore", 2),
    "gflops_paper": ("GFLOPs paper", None),
    "params_m": ("Params (M)", 2),
    "params_m_with_aux": ("Params with aux (M)", 2),
    "params_m_paper": ("Params paper (M)", None),
    "latency_ms_p50": ("Latency p50 (ms)", 1),
    "latency_ms_p95": ("Latency p95 (ms)", 1),
    "latency_ms_paper": ("Latency paper (ms)", None),
    "seeds": ("Seeds", None),
    "profile_size": ("Costs at", None),
    "train_crop": ("Train crop", None),
    "num_classes": ("Classes", None),
    "device": ("Device", None),
}
FACTS = ("seeds", "profile_size", "train_crop", "num_classes", "device")
COUNTS = ("seeds", "num_classes")
LARGER_IS_BETTER = {"miou": True, "top1": True} | dict.fromkeys(
    ("gmacs", "gmacs_fvcore", "params_m", "latency_ms_p50"), False
)


@dataclass(frozen=True)
class Cell:
    """text is "" where nothing is known; mark is "", "best" or "second"; symbols are footnotes."""

    text: str
    mark: str
    symbols: tuple[str, ...]
    value: float | None


@dataclass(frozen=True)
class Printed:
    """A table ready to be written: `header[i]` heads `rows[:][i]`, `columns[i]` is its key."""

    name: str
    title: str
    scenes: bool
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footnotes: tuple[tuple[str, str], ...]


def is_scenes(row: Mapping[str, str]) -> bool:
    """Whether a row's measured numbers come from drawn scenes."""
    return row["note"].startswith("scenes")


def label(row: Mapping[str, str], measured: Mapping[str, str]) -> str:
    """Printed name of a row's model. measured: labels of the run's models, by key."""
    source, model = row["source_paper"], row["model"]
    in_paper = paper.label_of(model, source) if source.startswith("LeMoRe ICIP") else ""
    return in_paper or measured.get(model) or paper.label_of(model, source) or model


def lay_out(
    name: str, dataset_title: str, rows: list[Row], measured: Mapping[str, str], run: str
) -> Printed:
    """The printed form of a table's rows.

    dataset_title: printed name of the dataset of a table that is no view, "" for its key.
    """
    columns, facts = _columns(name, rows)
    marks = best_marks(rows)
    symbols = _footnotes(rows)
    cells = tuple(
        tuple(_cell(row, c, marks.get((i, c), ""), symbols, measured) for c in columns)
        for i, row in enumerate(rows)
    )
    return Printed(
        name=name,
        title=VIEWS[name].title if name in VIEWS else f"Results on {dataset_title or name}",
        scenes=any(is_scenes(row) for row in rows),
        facts=(f"run {run}", *facts),
        columns=tuple(columns),
        header=tuple(HEADERS[c][0] for c in columns),
        rows=cells,
        footnotes=tuple((symbol, text) for text, symbol in symbols.items()),
    )


def _columns(name: str, rows: list[Row]) -> tuple[list[str], tuple[str, ...]]:
    columns, facts = [], []
    for column, (header, _) in HEADERS.items():
        values = {row[column] for row in rows} - {""}
        targets = {row["dataset"].removesuffix("_scenes") for row in rows}
        if column == "dataset" and len(targets) < 2 and name != "efficiency":
            continue
        if column in FACTS and len(values) == 1:
            facts.append(f"{header.lower()} {values.pop()}")
        elif values:
            columns.append(column)
    return columns, tuple(facts)


def _footnotes(rows: list[Row]) -> dict[str, str]:
    """Symbol of every remark, in order of appearance: the dagger for scenes, then a, b, c."""
    notes = [note for row in rows for note in row["note"].split("; ") if note]
    remarks = list(dict.fromkeys(notes))
    scenes = {note: SCENES_SYMBOL for note in remarks if note.startswith("scenes")}
    letters = (note for note in remarks if note not in scenes)
    return scenes | {note: _letter(i) for i, note in enumerate(letters)}


def _letter(index: int) -> str:
    """a to z, then aa, ab, ..."""
    letter = chr(ord("a") + index % 26)
    return letter if index < 26 else _letter(index // 26 - 1) + letter


def _cell(
    row: Row, column: str, mark: str, symbols: Mapping[str, str], measured: Mapping[str, str]
) -> Cell:
    text, decimals = row[column], HEADERS[column][1]
    numeric = decimals is not None or column in COUNTS or column.endswith("_paper")
    value = float(text) if text and numeric else None
    if column == "model":
        remarks = [symbols[note] for note in row["note"].split("; ") if note]
        own = tuple(symbol for symbol in remarks if symbol != SCENES_SYMBOL)
        return Cell(label(row, measured), "", own, None)
    if value is not None and decimals is not None:
        text = f"{value:.{decimals}f}"
    if column == "miou" and row["miou_sd"]:
        text += f" ± {float(row['miou_sd']):.2f}"
    marked = (SCENES_SYMBOL,) if column in ("miou", "top1") and text and is_scenes(row) else ()
    return Cell(text, mark, marked, value)


def best_marks(rows: list[Row]) -> dict[tuple[int, str], str]:
    """{(row, column): "best" or "second"} of the measured values.

    Only like is compared with like: accuracies of one dataset, costs at one size on one device.
    Ties share a mark; a group of one value or of equal values has none.
    """
    marks: dict[tuple[int, str], str] = {}
    for column, larger in LARGER_IS_BETTER.items():
        groups: dict[tuple[str, ...], list[int]] = {}
        for i, row in enumerate(rows):
            if row[column]:
                groups.setdefault(_group(row, column), []).append(i)
        for group in groups.values():
            marks |= _marks_of(rows, group, column, larger)
    return marks


def _group(row: Row, column: str) -> tuple[str, ...]:
    if column in ("miou", "top1"):
        return (row["dataset"],)
    return (row["dataset"].removesuffix("_scenes"), row["profile_size"], row["device"])


def _marks_of(
    rows: list[Row], group: Iterable[int], column: str, larger: bool
) -> dict[tuple[int, str], str]:
    values = {i: float(rows[i][column]) for i in group}
    ranked = sorted(set(values.values()), reverse=larger)
    if len(ranked) < 2:
        return {}
    names = {ranked[0]: "best", ranked[1]: "second"}
    return {(i, column): names[value] for i, value in values.items() if value in names}
