"""Writes the report of a run: one self-contained HTML file.

Example:
  lemore report --run scenes --tables results/scenes/tables/*.csv \\
    --figures results/scenes/figures/*.png --output report.html
"""

import argparse
import logging
import os
from pathlib import Path

from lemore.data.store import Store
from lemore.reporting.pages import viewer
from lemore.reporting.pages.report import render
from lemore.reporting.tables.results import Result, read
from lemore.runtime.files import write_atomic
from lemore.stages.examples import examples, first_seeds

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--tables", nargs="*", default=[], metavar="CSV")
    parser.add_argument("--figures", nargs="*", default=[], metavar="PNG")
    parser.add_argument("--trainings", nargs="*", default=[], metavar="JSON", help="run.json")
    parser.add_argument("--evaluations", nargs="*", default=[], metavar="JSON")
    parser.add_argument("--profiles", nargs="*", default=[], metavar="JSON")
    parser.add_argument("--pretrainings", nargs="*", default=[], metavar="JSON")
    parser.add_argument(
        "--dataset-titles", nargs="*", default=[], metavar="NAME=TITLE", help="printed names"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="prepared datasets: shows the images kept by the evaluations"
    )
    parser.add_argument("--audits", nargs="*", default=[], metavar="HTML", help="linked to")
    parser.add_argument("--output", required=True, metavar="HTML")


def run(args: argparse.Namespace) -> int:
    results = {
        "pretrain": read(args.pretrainings, "pretrain"),
        "finetune": read(args.trainings, "finetune"),
        "evaluate": read(args.evaluations, "evaluate"),
        "profile": read(args.profiles, "profile"),
    }
    titles = dict(_pair(text) for text in args.dataset_titles)
    folder = Path(args.output).parent
    audits = {Path(page).stem: os.path.relpath(page, folder) for page in args.audits}
    viewers = _viewers(args.data_dir, results["evaluate"], titles) if args.data_dir else []
    page = render(args.run, args.tables, args.figures, results, titles, audits, viewers)
    write_atomic(args.output, page)
    log.info("report in %s", args.output)
    return 0


def _viewers(
    data_dir: Path, evaluations: list[Result], titles: dict[str, str]
) -> list[viewer.Viewer]:
    """One for each dataset of whose images the evaluations have kept predictions."""
    kept = [result for result in evaluations if result["predictions"]]
    return [
        _viewer(data_dir / dataset, [r for r in kept if r["dataset"] == dataset], titles)
        for dataset in dict.fromkeys(result["dataset"] for result in kept)
    ]


def _viewer(data: Path, evaluations: list[Result], titles: dict[str, str]) -> viewer.Viewer:
    chosen = first_seeds(evaluations)
    first = next(iter(chosen.values()))
    store = Store(data, first["split"])
    return viewer.lay_out(
        first["dataset"],
        titles.get(first["dataset"], ""),
        examples(store, first["predictions"], list(chosen.values())),
        list(chosen),
        store.classes,
        store.colors(),
        any(result["scenes"] for result in chosen.values()),
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, title = text.partition("=")
    if not equals:
        raise ValueError(f"--dataset-titles: '{text}' is not NAME=TITLE")
    return name, title
