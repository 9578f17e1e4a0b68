"""Tables as CSV, Markdown and LaTeX text."""

import csv
import io
from pathlib import Path

from lemore.reporting.printed import SCENES_CAPTION, Cell, Printed
from lemore.reporting.tables import COLUMNS, Row

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "†": r"$\dagger$",
}


def csv_text(rows: list[Row]) -> str:
    """CSV with exactly `COLUMNS`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[column] for column in COLUMNS] for row in rows)
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
    sentences = [table.title, "; ".join(table.facts), SCENES_CAPTION if table.scenes else ""]
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in sentences if text)


def markdown(table: Printed) -> str:
    """GitHub-flavoured Markdown; the best measured value is bold."""
    kinds = [":--" if is_text(table, i) else "--:" for i in range(len(table.columns))]
    lines = [f"**{markdown_escape(caption(table))}**", ""]
    lines += [_markdown_line(map(markdown_escape, table.header)), _markdown_line(kinds)]
    lines += [_markdown_line(map(_markdown_cell, row)) for row in table.rows]
    notes = [f"<sup>{s}</sup> {markdown_escape(text)}  " for s, text in table.footnotes]
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def is_text(table: Printed, column: int) -> bool:
    """Whether a column is aligned as text: none of its cells is a number."""
    return all(row[column].value is None for row in table.rows)


def _markdown_line(cells) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown_cell(cell: Cell) -> str:
    text = markdown_escape(cell.text)
    text = f"**{text}**" if cell.mark == "best" else text
    return text + (f"<sup>{','.join(cell.symbols)}</sup>" if cell.symbols else "")


def markdown_escape(text: str) -> str:
    """Text with Markdown's special characters taken literally."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, f"\\{character}")
    return text


def latex(table: Printed) -> str:
    """A booktabs table environment: the best measured value bold, the second underlined."""
    kinds = "".join("l" if is_text(table, i) else "r" for i in range(len(table.columns)))
    body = [_latex_line(map(_latex_cell, row)) for row in table.rows]
    notes = [
        rf"\textsuperscript{{{latex_escape(s)}}} {latex_escape(t)}" for s, t in table.footnotes
    ]
    return "\n".join(
        [
            r"% \usepackage{booktabs} in the preamble; \begin{table*} fits a two-column page",
            r"\begin{table}",
            r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex_escape(caption(table))}}}",
            rf"\label{{tab:{table.name.replace('_', '-')}}}",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            _latex_line(map(latex_escape, table.header)),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *_latex_notes(notes),
            r"\end{table}",
            "",
        ]
    )


def _latex_notes(notes: list[str]) -> list[str]:
    if not notes:
        return []
    return [r"\par\smallskip\raggedright\tiny", "; ".join(notes) + "."]


def _latex_line(cells) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(cell: Cell) -> str:
    text = latex_escape(cell.text)
    if cell.mark:
        text = rf"\{'textbf' if cell.mark == 'best' else 'underline'}{{{text}}}"
    symbols = ",".join(map(latex_escape, cell.symbols))
    return text + (rf"\textsuperscript{{{symbols}}}" if symbols else "")


def latex_escape(text: str) -> str:
    """Text with LaTeX's special characters taken literally."""
    return "".join(LATEX.get(character, character) for character in text)
