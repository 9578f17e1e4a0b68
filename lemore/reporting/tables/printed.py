"""Tables as people read them, before any format: columns, cells, marks, footnotes.

Columns that are empty everywhere are dropped; those with one value everywhere become a fact of the
caption; differences to the published values are added. Written out by writers.py (Markdown),
latex.py and report.py (HTML).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lemore.reporting.tables import paper
from lemore.reporting.tables.columns import (
    COUNTS,
    DETECTION,
    FACTS,
    PLACES,
    PRINTED,
    WITH_AUX,
    Column,
)
from lemore.reporting.tables.marks import best_marks
from lemore.reporting.tables.rows import Row
from lemore.reporting.tables.views import VIEWS

SCENES_SYMBOL = "†"
SCENES_CAPTION = "scenes: values marked † were measured on drawn scenes, not on the real dataset"
LACKING = "Not in the paper's table"


@dataclass(frozen=True)
class Cell:
    """text is "" where nothing is known; mark is "", "best" or "second"; symbols are footnotes."""

    text: str
    mark: str
    symbols: tuple[str, ...]
    value: float | None


@dataclass(frozen=True)
class Printed:
    """A table ready to be written: `header[i]` heads `rows[:][i]`, `columns[i]` is its key.

    sections: (index of its first row, heading or "") of each part of the rows.
    """

    name: str
    title: str
    scenes: bool
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    header: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sections: tuple[tuple[int, str], ...]
    footnotes: tuple[tuple[str, str], ...]


def is_scenes(row: Mapping[str, str]) -> bool:
    """Whether a row's measured numbers come from drawn scenes."""
    return row["note"].startswith("scenes")


def label(row: Mapping[str, str], measured: Mapping[str, str]) -> str:
    """Printed name of a row's model. measured: labels of the run's models, by key."""
    source, model = row["source_paper"], row["model"]
    in_paper = paper.label_of(model, source) if source.startswith(paper.PAPER) else ""
    return in_paper or measured.get(model) or paper.label_of(model, source) or model


def lay_out(
    name: str, dataset_title: str, rows: list[Row], measured: Mapping[str, str], run: str
) -> Printed:
    """The printed form of a table's rows.

    dataset_title: printed name of the dataset of a table that is no view, "" for its key.
    """
    marks = best_marks(rows)
    rows = [_extended(row) for row in rows]
    kinds = PRINTED | (DETECTION if name == "detection" else {})
    columns, facts = _columns(name, rows, kinds)
    placed = [_placed(row, columns) for row in rows]
    symbols = _symbols(placed)
    cells = tuple(
        tuple(
            _cell(row, c, kinds[c], marks.get((i, c), ""), placed[i].get(c, []), symbols, measured)
            for c in columns
        )
        for i, row in enumerate(rows)
    )
    return Printed(
        name=name,
        title=VIEWS[name].title if name in VIEWS else f"Results on {dataset_title or name}",
        scenes=any(is_scenes(row) for row in rows),
        facts=(f"run {run}", *facts),
        columns=tuple(columns),
        header=tuple(kinds[c] for c in columns),
        rows=cells,
        sections=_sections(name, rows),
        footnotes=tuple((symbol, text) for text, symbol in symbols.items()),
    )


def _extended(row: Row) -> Row:
    """A row with its differences to the published values and a short source.

    Only like is compared with like: accuracies on the real dataset, MACs at the published input
    size, parameters with the auxiliary head where the published ones include it.
    """
    published = paper.behind(row)
    size = published.input.split(" ")[0] if published else ""
    params = "params_m_with_aux" if WITH_AUX in row["note"] else "params_m"
    real, same_size = not is_scenes(row), row["profile_size"] == size
    return row | {
        "miou_difference": _difference(row["miou"], row["miou_paper"]) if real else "",
        "top1_difference": _difference(row["top1"], row["top1_paper"]) if real else "",
        "gmacs_difference": _difference(row["gmacs"], row["gflops_paper"]) if same_size else "",
        "params_difference": _difference(row[params], row["params_m_paper"]),
        "published_in": paper.short_source(published) if published else "",
    }


def _difference(measured: str, published: str) -> str:
    """Measured less published, with its sign, two decimals; "" where either is unknown."""
    if not measured or not published:
        return ""
    value = round(float(measured) - float(published), 2) + 0.0  # no negative zero
    return f"{value:+.2f}" if value else "0.00"


def _columns(
    name: str, rows: list[Row], kinds: Mapping[str, Column]
) -> tuple[list[str], tuple[str, ...]]:
    columns, facts = [], []
    for column, kind in kinds.items():
        values = {row[column] for row in rows} - {""}
        targets = {row["dataset"].removesuffix("_scenes") for row in rows}
        if column == "dataset" and len(targets) < 2 and name != "efficiency":
            continue
        if column in FACTS and len(values) == 1:
            facts.append(f"{kind.header.lower()} {values.pop()}")
        elif values:
            columns.append(column)
    return columns, tuple(facts)


def _placed(row: Row, columns: list[str]) -> dict[str, list[str]]:
    """The remarks of a row by the column that they are about, in the columns' order."""
    found: dict[str, list[str]] = {}
    for note in row["note"].split("; ") if row["note"] else []:
        place = next((c for begin, c in PLACES.items() if note.startswith(begin)), "model")
        if note.startswith("scenes"):
            place = "top1" if row["top1"] else "miou"
        place = place if place in columns and row[place] else "model"
        found.setdefault(place, []).append(note)
        if place == "top1" and row["top5"]:
            found.setdefault("top5", []).append(note)
    return {column: found[column] for column in columns if column in found}


def _symbols(placed: list[dict[str, list[str]]]) -> dict[str, str]:
    """Symbol of every remark, in order of appearance: the dagger for scenes, then a, b, c."""
    notes = [note for row in placed for several in row.values() for note in several]
    remarks = list(dict.fromkeys(notes))
    scenes = {note: SCENES_SYMBOL for note in remarks if note.startswith("scenes")}
    letters = (note for note in remarks if note not in scenes)
    return scenes | {note: _letter(i) for i, note in enumerate(letters)}


def _letter(index: int) -> str:
    """a to z, then aa, ab, ..."""
    letter = chr(ord("a") + index % 26)
    return letter if index < 26 else _letter(index // 26 - 1) + letter


def _sections(name: str, rows: list[Row]) -> tuple[tuple[int, str], ...]:
    """Where the paper's headings stand, and where the rows begin that its table lacks."""
    if name not in VIEWS or not VIEWS[name].table:
        return ((0, ""),)
    known = {(row.model, row.dataset): row.group for row in paper.rows_of(VIEWS[name].table)}
    places = [(row["model"], row["dataset"].removesuffix("_scenes")) for row in rows]
    headings = [known.get(place, LACKING) for place in places]
    starts = [i for i in range(len(rows)) if not i or headings[i] != headings[i - 1]]
    return tuple((i, headings[i]) for i in starts)


def _cell(
    row: Row,
    column: str,
    kind: Column,
    mark: str,
    notes: list[str],
    symbols: Mapping[str, str],
    measured: Mapping[str, str],
) -> Cell:
    text = label(row, measured) if column == "model" else row[column]
    counts = column in COUNTS or column.endswith(("_paper", "_difference"))
    value = float(text) if text and (counts or kind.decimals is not None) else None
    if value is not None and kind.decimals is not None:
        text = f"{value:.{kind.decimals}f}"
    if column == "miou" and row["miou_sd"]:
        text += f" ± {float(row['miou_sd']):.2f}"
    if column.endswith("_difference"):
        text = text.replace("-", "\N{MINUS SIGN}")
    return Cell(text, mark, tuple(symbols[note] for note in notes), value)
