"""Writes the report of a run: one self-contained HTML file.

Example:
  lemore report --run scenes --tables results/scenes/tables/*.csv \\
    --figures results/scenes/figures/*.png --output report.html
"""

import argparse
import logging
import os
from pathlib import Path

from lemore.files import write_atomic
from lemore.reporting.report import render
from lemore.reporting.results import read

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--tables", nargs="*", default=[], metavar="CSV")
    parser.add_argument("--figures", nargs="*", default=[], metavar="PNG")
    parser.add_argument("--evaluations", nargs="*", default=[], metavar="JSON")
    parser.add_argument("--profiles", nargs="*", default=[], metavar="JSON")
    parser.add_argument("--pretrainings", nargs="*", default=[], metavar="JSON")
    parser.add_argument(
        "--dataset-titles", nargs="*", default=[], metavar="NAME=TITLE", help="printed names"
    )
    parser.add_argument("--audits", nargs="*", default=[], metavar="HTML", help="linked to")
    parser.add_argument("--output", required=True, metavar="HTML")


def run(args: argparse.Namespace) -> int:
    results = {
        "pretrain": read(args.pretrainings, "pretrain"),
        "evaluate": read(args.evaluations, "evaluate"),
        "profile": read(args.profiles, "profile"),
    }
    titles = dict(_pair(text) for text in args.dataset_titles)
    folder = Path(args.output).parent
    audits = {Path(page).stem: os.path.relpath(page, folder) for page in args.audits}
    page = render(args.run, args.tables, args.figures, results, titles, audits)
    write_atomic(args.output, page)
    log.info("report in %s", args.output)
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, title = text.partition("=")
    if not equals:
        raise ValueError(f"--dataset-titles: '{text}' is not NAME=TITLE")
    return name, title
