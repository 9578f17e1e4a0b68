"""Tables as CSV and Markdown text."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from lemore.reporting.tables.printed import SCENES_CAPTION, Cell, Printed
from lemore.reporting.tables.rows import COLUMNS, Row


def csv_text(rows: list[Row]) -> str:
    """CSV with exactly `COLUMNS`."""
    return _csv([COLUMNS, *([row[column] for column in COLUMNS] for row in rows)])


def printed_csv(table: Printed) -> str:
    """CSV of what is printed, for a table that is in no file."""
    header = [column.header for column in table.header]
    return _csv([header, *([cell.text for cell in row] for row in table.rows)])


def _csv(lines: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def read_csv(path: Path | str) -> list[Row]:
    """Rows of a table file. ValueError naming the file if its columns are others."""
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if list(reader.fieldnames or []) != COLUMNS:
            raise ValueError(f"{path}: not a table of `lemore table`, its columns differ")
        return list(reader)


def caption(table: Printed) -> str:
    """Title, facts that hold for all rows, and the mark of drawn scenes."""
    return " ".join(text for text in (_sentence(table.title), facts(table)) if text)


def facts(table: Printed) -> str:
    """What a caption says after the title."""
    sentences = ["; ".join(table.facts), SCENES_CAPTION if table.scenes else ""]
    return " ".join(_sentence(text) for text in sentences if text)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def markdown(table: Printed) -> str:
    """GitHub-flavoured Markdown; the best measured value is bold, the second underlined."""
    kinds = [":--" if is_text(table, i) else "--:" for i in range(len(table.columns))]
    lines = [f"**{markdown_escape(caption(table))}**", ""]
    lines += [_markdown_line(markdown_escape(c.header) for c in table.header)]
    lines += [_markdown_line(kinds)]
    headings = dict(table.sections)
    for i, row in enumerate(table.rows):
        if headings.get(i):
            lines += [_markdown_line([f"*{headings[i]}*", *[""] * (len(row) - 1)])]
        lines += [_markdown_line(map(_markdown_cell, row))]
    notes = [f"<sup>{s}</sup> {markdown_escape(text)}  " for s, text in table.footnotes]
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def is_text(table: Printed, column: int) -> bool:
    """Whether a column is aligned as text: none of its cells is a number."""
    return all(row[column].value is None for row in table.rows)


def _markdown_line(cells) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown_cell(cell: Cell) -> str:
    text = markdown_escape(cell.text)
    text = {"best": f"**{text}**", "second": f"<ins>{text}</ins>"}.get(cell.mark, text)
    return text + (f"<sup>{','.join(cell.symbols)}</sup>" if cell.symbols else "")


def markdown_escape(text: str) -> str:
    """Text with Markdown's special characters taken literally."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, f"\\{character}")
    return text
