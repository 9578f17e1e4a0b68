"""Tables as CSV, Markdown and LaTeX text."""

from collections.abc import Iterable
from itertools import groupby

import pandas as pd

from lemore.reporting.tables.printed import Cell, PrintedTable

SCENES_CAPTION = "scenes: values marked † were measured on drawn scenes, not on the real dataset"
ESCAPES = {
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
    "\N{MINUS SIGN}": r"$-$",
}
# left out of printed pages, which lack room; the other formats have them
LEFT_OUT = ("gmacs_fvcore", "latency_ms_p95")


def format_csv(table: pd.DataFrame) -> str:
    """Returns CSV of all rows and columns, numbers without trailing zeros."""
    return table.to_csv(index=False, lineterminator="\n", float_format="%.10g")


def format_printed_csv(table: PrintedTable) -> str:
    """Returns the printed cells as CSV, for a table that is in no file."""
    texts = [[cell.text for cell in row] for row in table.rows]
    header = [column.header for column in table.header]
    return pd.DataFrame(texts).to_csv(index=False, header=header, lineterminator="\n")


def write_caption(table: PrintedTable) -> str:
    """Returns the title, facts that hold for all rows, and the mark of drawn scenes."""
    return " ".join(filter(None, (_end_sentence(table.title), write_facts(table))))


def write_facts(table: PrintedTable) -> str:
    """Returns the part of a caption that follows the title."""
    sentences = ["; ".join(table.facts), SCENES_CAPTION if table.scenes else ""]
    return " ".join(_end_sentence(text) for text in sentences if text)


def _end_sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def format_markdown(table: PrintedTable) -> str:
    """GitHub-flavoured Markdown; the best measured value is bold, the second underlined."""
    kinds = [":--" if table.is_text(i) else "--:" for i in range(len(table.columns))]
    lines = [f"**{escape_markdown(write_caption(table))}**", ""]
    lines += [_join_markdown(escape_markdown(c.header) for c in table.header)]
    lines += [_join_markdown(kinds)]
    headings = dict(table.sections)
    for i, row in enumerate(table.rows):
        if headings.get(i):
            lines += [_join_markdown([f"*{headings[i]}*", *[""] * (len(row) - 1)])]
        lines += [_join_markdown(map(_format_markdown_cell, row))]
    notes = [f"<sup>{s}</sup> {escape_markdown(text)}  " for s, text in table.footnotes]
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def _join_markdown(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _format_markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    text = {"best": f"**{text}**", "second": f"<ins>{text}</ins>"}.get(cell.mark, text)
    return text + (f"<sup>{','.join(cell.symbols)}</sup>" if cell.symbols else "")


def escape_markdown(text: str) -> str:
    """Escapes Markdown's special characters."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, f"\\{character}")
    return text


def format_latex(table: PrintedTable) -> str:
    """A booktabs table*: the best measured value bold, the second underlined.

    It shrinks to the text's width where it is wider, in one column or two.
    """
    left_out = () if table.name in ("efficiency", "deploy") else LEFT_OUT
    kept = [i for i, column in enumerate(table.columns) if column not in left_out]
    kinds = "".join("l" if table.is_text(i) else "r" for i in kept)
    return "\n".join(
        [
            r"% in the preamble: \usepackage{booktabs,graphicx}",
            r"\begin{table*}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escape_latex(write_caption(table))}}}",
            rf"\label{{tab:{table.name.replace('_', '-')}}}",
            r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            *_format_latex_header(table, kept),
            r"\midrule",
            *_format_latex_rows(table, kept),
            r"\bottomrule",
            r"\end{tabular}}",
            *_format_latex_notes(table),
            r"\end{table*}",
            "",
        ]
    )


def _format_latex_header(table: PrintedTable, kept: list[int]) -> list[str]:
    """Two lines: headings over the columns that belong together, then each column's own."""
    first, rules, second, start = [], [], [], 1
    for group, same in groupby(kept, key=lambda i: table.header[i].group or f"alone {i}"):
        columns = [table.header[i] for i in same]
        number = len(columns)
        if number == 1:
            first.append("")
            second.append(escape_latex(columns[0].header))
        else:
            first.append(rf"\multicolumn{{{number}}}{{c}}{{{escape_latex(group)}}}")
            rules.append(rf"\cmidrule(lr){{{start}-{start + number - 1}}}")
            second += [escape_latex(column.short) for column in columns]
        start += number
    return ([_join_latex(first), "".join(rules)] if rules else []) + [_join_latex(second)]


def _format_latex_rows(table: PrintedTable, kept: list[int]) -> list[str]:
    headings, lines = dict(table.sections), []
    for i, row in enumerate(table.rows):
        if i in headings:
            lines += [r"\midrule"] if i else []
            if headings[i]:
                text = rf"\textit{{{escape_latex(headings[i])}}}"
                lines += [_join_latex([rf"\multicolumn{{{len(kept)}}}{{l}}{{{text}}}"])]
        lines += [_join_latex([_format_latex_cell(row[k]) for k in kept])]
    return lines


def _format_latex_notes(table: PrintedTable) -> list[str]:
    notes = [
        rf"\textsuperscript{{{escape_latex(s)}}} {escape_latex(t)}" for s, t in table.footnotes
    ]
    if not notes:
        return []
    return [r"\par\smallskip\parbox{\textwidth}{\raggedright\scriptsize", ";\n".join(notes) + ".}"]


def _join_latex(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _format_latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    if cell.mark:
        text = rf"\{'textbf' if cell.mark == 'best' else 'underline'}{{{text}}}"
    symbols = ",".join(map(escape_latex, cell.symbols))
    return text + (rf"\textsuperscript{{{symbols}}}" if symbols else "")


def escape_latex(text: str) -> str:
    """Escapes LaTeX's special characters."""
    return "".join(ESCAPES.get(character, character) for character in text)
