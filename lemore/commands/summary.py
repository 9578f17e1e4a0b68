"""Put a run's tables, figures and report into one MLflow run, with mean mIoU as metrics.

Example:
  lemore summary --run scenes --evaluations results/scenes/evaluate/*/*/*.json \\
    --artifacts results/scenes/report.html --json summary.json
"""

import argparse
from pathlib import Path

from lemore.stages.summary import track_summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--evaluations", type=Path, nargs="*", default=[], metavar="JSON")
    parser.add_argument("--artifacts", type=Path, nargs="*", default=[], metavar="FILE")
    parser.add_argument("--json", type=Path, required=True, help="file for the run's id")


def run(args: argparse.Namespace) -> int:
    track_summary(args.run, args.evaluations, args.artifacts, args.json)
    return 0
