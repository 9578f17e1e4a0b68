"""Tables as LaTeX text: booktabs, as wide as the page allows."""

from itertools import groupby

from lemore.reporting.tables.printed import Cell, Printed
from lemore.reporting.tables.writers import caption, is_text

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
    "\N{MINUS SIGN}": r"$-$",
}


# what a printed page has no room for; the other formats have it
LEFT_OUT = ("gmacs_fvcore", "latency_ms_p95")
PREAMBLE = r"""% in the preamble: \usepackage{booktabs,graphicx}
"""


def latex(table: Printed) -> str:
    """A table* environment: the best measured value bold, the second underlined.

    It shrinks to the text's width where it is wider, in one column or two.
    """
    kept = [i for i, c in enumerate(table.columns) if c not in _left_out(table)]
    kinds = "".join("l" if is_text(table, i) else "r" for i in kept)
    notes = [
        rf"\textsuperscript{{{latex_escape(s)}}} {latex_escape(t)}" for s, t in table.footnotes
    ]
    return "\n".join(
        [
            PREAMBLE + r"\begin{table*}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex_escape(caption(table))}}}",
            rf"\label{{tab:{table.name.replace('_', '-')}}}",
            r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            *_header(table, kept),
            r"\midrule",
            *_body(table, kept),
            r"\bottomrule",
            r"\end{tabular}}",
            *_notes(notes),
            r"\end{table*}",
            "",
        ]
    )


def _left_out(table: Printed) -> tuple[str, ...]:
    return () if table.name == "efficiency" else LEFT_OUT


def _header(table: Printed, kept: list[int]) -> list[str]:
    """Two lines: headings over the columns that belong together, then each column's own."""
    first, rules, second, start = [], [], [], 1
    for group, same in groupby(kept, key=lambda i: table.header[i].group or f"alone {i}"):
        columns = [table.header[i] for i in same]
        number = len(columns)
        if number == 1:
            first.append("")
            second.append(latex_escape(columns[0].header))
        else:
            first.append(rf"\multicolumn{{{number}}}{{c}}{{{latex_escape(group)}}}")
            rules.append(rf"\cmidrule(lr){{{start}-{start + number - 1}}}")
            second += [latex_escape(column.short) for column in columns]
        start += number
    return ([_line(first), "".join(rules)] if rules else []) + [_line(second)]


def _body(table: Printed, kept: list[int]) -> list[str]:
    headings, lines = dict(table.sections), []
    for i, row in enumerate(table.rows):
        if i in headings:
            lines += [r"\midrule"] if i else []
            if headings[i]:
                text = rf"\textit{{{latex_escape(headings[i])}}}"
                lines += [_line([rf"\multicolumn{{{len(kept)}}}{{l}}{{{text}}}"])]
        lines += [_line([_cell(row[k]) for k in kept])]
    return lines


def _notes(notes: list[str]) -> list[str]:
    if not notes:
        return []
    return [r"\par\smallskip\parbox{\textwidth}{\raggedright\scriptsize", ";\n".join(notes) + ".}"]


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    text = latex_escape(cell.text)
    if cell.mark:
        text = rf"\{'textbf' if cell.mark == 'best' else 'underline'}{{{text}}}"
    symbols = ",".join(map(latex_escape, cell.symbols))
    return text + (rf"\textsuperscript{{{symbols}}}" if symbols else "")


def latex_escape(text: str) -> str:
    """Text with LaTeX's special characters taken literally."""
    return "".join(LATEX.get(character, character) for character in text)
