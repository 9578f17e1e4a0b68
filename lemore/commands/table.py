"""Write one table of a run as CSV, Markdown and LaTeX.

Example:
  lemore table efficiency --run scenes --profiles results/scenes/profile/*.json --output efficiency
"""

import argparse

from lemore.stages.table import write_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        help="ade20k, ablation, cityscapes, pascal_context, coco_stuff, detection, imagenet, "
        "efficiency, deploy, or a dataset of the results",
    )
    parser.add_argument("--run", required=True, help="name of the run, for the caption")
    parser.add_argument("--dataset-title", default="", help="printed, unless name is a view")
    for results in ("evaluations", "profiles", "counts", "pretrainings"):
        parser.add_argument(f"--{results}", nargs="*", default=[], metavar="JSON")
    parser.add_argument("--deployments", nargs="*", default=[], metavar="JSON", help="of deploy")
    parser.add_argument("--significance", nargs="*", default=[], metavar="CSV")
    parser.add_argument("--output", required=True, metavar="PREFIX", help="of .csv, .md and .tex")


def run(args: argparse.Namespace) -> int:
    write_table(**vars(args))
    return 0
