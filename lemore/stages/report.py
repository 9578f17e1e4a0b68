"""The report of a run: one self-contained HTML file."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lemore.data.store import Store
from lemore.reporting.pages import viewer
from lemore.reporting.pages.report import render
from lemore.reporting.tables.results import Result, pick_first_seeds, read_results
from lemore.runtime.files import write_atomic
from lemore.stages.examples import read_examples

log = logging.getLogger(__name__)


def write_report(
    *,
    output: str,
    run: str,
    tables: Sequence[str],
    figures: Sequence[str],
    pretrainings: Sequence[str],
    trainings: Sequence[str],
    evaluations: Sequence[str],
    profiles: Sequence[str],
    deployments: Sequence[str],
    dataset_titles: Sequence[str],
    audits: Sequence[str],
    data_dir: Path | None,
) -> None:
    """Writes the report from tables (CSV), figures (PNG) and result files by stage.

    dataset_titles: NAME=TITLE, printed names. audits: pages to link to. data_dir: prepared
    datasets, to show the images kept by the evaluations; None to show none.
    """
    found = {
        "pretrain": read_results(pretrainings, "pretrain"),
        "finetune": read_results(trainings, "finetune"),
        "evaluate": read_results(evaluations, "evaluate"),
        "profile": read_results(profiles, "profile"),
        "deploy": read_results(deployments, "deploy"),
    }
    titles = {}
    for text in dataset_titles:
        name, equals, titles[name] = text.partition("=")
        if not equals:
            raise ValueError(f"--dataset-titles: '{text}' is not NAME=TITLE")
    folder = Path(output).parent
    links = {Path(page).stem: os.path.relpath(page, folder) for page in audits}
    viewers = _lay_out_viewers(data_dir, found["evaluate"], titles) if data_dir else []
    write_atomic(output, render(run, tables, figures, found, titles, links, viewers))
    log.info("report in %s", output)


def _lay_out_viewers(
    data_dir: Path, evaluations: Sequence[Result], titles: Mapping[str, str]
) -> list[viewer.Viewer]:
    """Lays out a viewer for each dataset whose evaluations have kept predictions."""
    kept = [result for result in evaluations if result["predictions"]]
    viewers = []
    for dataset in dict.fromkeys(result["dataset"] for result in kept):
        chosen = pick_first_seeds([result for result in kept if result["dataset"] == dataset])
        first = next(iter(chosen.values()))
        store = Store(data_dir / dataset, first["split"])
        shown = read_examples(store, first["predictions"], list(chosen.values()))
        scenes = any(result["scenes"] for result in chosen.values())
        title, names, colors = titles.get(dataset, ""), store.classes, store.read_colors()
        viewers.append(viewer.lay_out(dataset, title, shown, list(chosen), names, colors, scenes))
    return viewers
