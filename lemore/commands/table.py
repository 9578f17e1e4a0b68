"""Writes one table of a run as CSV, Markdown and LaTeX.

Example:
  lemore table efficiency --run scenes --profiles results/scenes/profile/*.json --output efficiency
"""

import argparse

from lemore.stages.table import write_table


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
    parser.add_argument(
        "--counts", nargs="*", default=[], metavar="JSON", help="of `lemore count --json`"
    )
    parser.add_argument("--pretrainings", nargs="*", default=[], metavar="JSON")
    parser.add_argument(
        "--significance", nargs="*", default=[], metavar="CSV", help="of `lemore significance`"
    )
    parser.add_argument(
        "--output", required=True, metavar="PREFIX", help="writes PREFIX.csv, PREFIX.md, PREFIX.tex"
    )


def run(args: argparse.Namespace) -> int:
    write_table(
        args.name,
        args.output,
        run=args.run,
        dataset_title=args.dataset_title,
        evaluations=args.evaluations,
        profiles=args.profiles,
        counts=args.counts,
        pretrainings=args.pretrainings,
        significance_tables=args.significance,
    )
    return 0
