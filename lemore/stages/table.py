"""One table of a run, from the files of its stages, as CSV, Markdown and LaTeX."""

import logging
from collections.abc import Sequence

from lemore.reporting.tables import significance
from lemore.reporting.tables.latex import latex
from lemore.reporting.tables.printed import lay_out
from lemore.reporting.tables.results import labels, read
from lemore.reporting.tables.views import build
from lemore.reporting.tables.writers import csv_text, markdown
from lemore.runtime.files import write_atomic

log = logging.getLogger(__name__)


def write_table(
    name: str,
    prefix: str,
    *,
    run: str,
    dataset_title: str,
    evaluations: Sequence[str],
    profiles: Sequence[str],
    pretrainings: Sequence[str],
    significance_tables: Sequence[str],
) -> None:
    """Writes <prefix>.csv, .md and .tex. name: a view or a dataset of the evaluations.

    evaluations, profiles, pretrainings: paths of result files. significance_tables: of the CSV
    files of `lemore significance`.
    """
    evaluated, profiled = read(evaluations, "evaluate"), read(profiles, "profile")
    pairs = significance.read(significance_tables)
    rows = build(name, evaluated, profiled, read(pretrainings, "pretrain"), pairs)
    printed = lay_out(name, dataset_title, rows, labels([*profiled, *evaluated]), run)
    written = {"csv": csv_text(rows), "md": markdown(printed), "tex": latex(printed)}
    for suffix, text in written.items():
        write_atomic(f"{prefix}.{suffix}", text)
    log.info("table %s: %d rows in %s.{csv,md,tex}", name, len(rows), prefix)
