"""Writes the report of a run: one self-contained HTML file.

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
        "pretrain": args.pretrainings,
        "finetune": args.trainings,
        "evaluate": args.evaluations,
        "profile": args.profiles,
    }
    write_report(
        args.output,
        run=args.run,
        tables=args.tables,
        figures=args.figures,
        results=results,
        titles=args.dataset_titles,
        audits=args.audits,
        data_dir=args.data_dir,
    )
    return 0
