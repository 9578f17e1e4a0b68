"""One table of a run, from the files of its stages, as CSV, Markdown and LaTeX."""

import logging
from collections.abc import Sequence

from lemore.reporting.tables import deploy
from lemore.reporting.tables.build import build_table
from lemore.reporting.tables.printed import lay_out
from lemore.reporting.tables.results import label_models, read_results
from lemore.reporting.tables.significance import read_pairs
from lemore.reporting.tables.writers import format_csv, format_latex, format_markdown
from lemore.runtime.files import write_atomic

log = logging.getLogger(__name__)


def write_table(
    *,
    name: str,
    output: str,
    run: str,
    dataset_title: str,
    evaluations: Sequence[str],
    profiles: Sequence[str],
    counts: Sequence[str],
    pretrainings: Sequence[str],
    significance: Sequence[str],
    deployments: Sequence[str],
) -> None:
    """Writes <output>.csv, .md and .tex. name: a view, deploy or a dataset of the evaluations.

    evaluations, profiles, counts, pretrainings, deployments: result files. significance: CSV files
    of `lemore significance`.
    """
    evaluated, profiled = read_results(evaluations, "evaluate"), read_results(profiles, "profile")
    pretrained, pairs = read_results(pretrainings, "pretrain"), read_pairs(significance)
    counted = [model for result in read_results(counts, "count") for model in result["models"]]
    if name == deploy.NAME:
        deployed = read_results(deployments, "deploy")
        table = deploy.build_table(deployed)
        printed = deploy.lay_out(table, label_models(deployed), run)
    else:
        table = build_table(name, evaluated, profiled, pretrained, pairs, counted)
        printed = lay_out(name, dataset_title, table, label_models([*profiled, *evaluated]), run)
    write_atomic(f"{output}.csv", format_csv(table))
    write_atomic(f"{output}.md", format_markdown(printed))
    write_atomic(f"{output}.tex", format_latex(printed))
    log.info("table %s: %d rows in %s.{csv,md,tex}", name, len(table), output)
