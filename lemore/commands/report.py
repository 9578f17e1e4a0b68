"""Write the report of a run: one self-contained HTML file.

Example:
  lemore report --run scenes --tables results/scenes/tables/*.csv \\
    --figures results/scenes/figures/*.png --output report.html
"""

import argparse
from pathlib import Path

from lemore.stages.report import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--tables", nargs="*", default=[], metavar="CSV")
    parser.add_argument("--figures", nargs="*", default=[], metavar="PNG")
    for results in ("pretrainings", "trainings", "evaluations", "profiles", "deployments"):
        parser.add_argument(f"--{results}", nargs="*", default=[], metavar="JSON")
    parser.add_argument("--dataset-titles", nargs="*", default=[], metavar="NAME=TITLE")
    parser.add_argument(
        "--data-dir", type=Path, help="prepared datasets: shows images they predict"
    )
    parser.add_argument("--audits", nargs="*", default=[], metavar="HTML", help="linked to")
    parser.add_argument("--output", required=True, metavar="HTML")


def run(args: argparse.Namespace) -> int:
    write_report(**vars(args))
    return 0
