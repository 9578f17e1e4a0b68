"""Writes one table of a run as CSV, Markdown and LaTeX.

Example:
  lemore table efficiency --run scenes --profiles results/scenes/profile/*.json --output efficiency
"""

import argparse
import logging

from lemore.reporting.tables import significance
from lemore.reporting.tables.latex import latex
from lemore.reporting.tables.printed import lay_out
from lemore.reporting.tables.results import labels, read
from lemore.reporting.tables.views import build
from lemore.reporting.tables.writers import csv_text, markdown
from lemore.runtime.files import write_atomic

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        help="ade20k, ablation, cityscapes, pascal_context, coco_stuff, detection, imagenet, "
        "efficiency, or a dataset of the results",
    )
    parser.add_argument("--run", required=True, help="name of the run, for the caption")
    parser.add_argument(
        "--dataset-title", default="", help="printed name of a dataset that is not a view"
    )
    parser.add_argument("--evaluations", nargs="*", default=[], metavar="JSON")
    parser.add_argument("--profiles", nargs="*", default=[], metavar="JSON")
    parser.add_argument("--pretrainings", nargs="*", default=[], metavar="JSON")
    parser.add_argument(
        "--significance", nargs="*", default=[], metavar="CSV", help="of `lemore significance`"
    )
    parser.add_argument(
        "--output", required=True, metavar="PREFIX", help="writes PREFIX.csv, PREFIX.md, PREFIX.tex"
    )


def run(args: argparse.Namespace) -> int:
    evaluations = read(args.evaluations, "evaluate")
    profiles = read(args.profiles, "profile")
    pretrainings, pairs = read(args.pretrainings, "pretrain"), significance.read(args.significance)
    rows = build(args.name, evaluations, profiles, pretrainings, pairs)
    names = labels([*profiles, *evaluations])
    printed = lay_out(args.name, args.dataset_title, rows, names, args.run)
    written = {"csv": csv_text(rows), "md": markdown(printed), "tex": latex(printed)}
    for suffix, text in written.items():
        write_atomic(f"{args.output}.{suffix}", text)
    log.info("table %s: %d rows in %s.{csv,md,tex}", args.name, len(rows), args.output)
    return 0
