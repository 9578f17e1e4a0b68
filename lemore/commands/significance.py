"""Test which models of a dataset are better than which: a paired bootstrap over its images.

Models with the same number of seeds, at least two, are compared pair by pair; an evaluation without
counts by image is left out.

Example:
  lemore significance --evaluations results/camvid_lightweight/evaluate/camvid/*/*.json \\
    --sequence '[^_]+' --block 10 --output significance.csv
"""

import argparse

from lemore.config.read import positive
from lemore.stages.significance import write_significance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--evaluations", required=True, nargs="+", metavar="JSON")
    parser.add_argument("--sequence", help="pattern of the part of a name that names its film")
    parser.add_argument("--block", type=positive, default=1, help="neighbouring frames taken as 1")
    parser.add_argument("--output", required=True, metavar="CSV")


def run(args: argparse.Namespace) -> int:
    write_significance(**vars(args))
    return 0
