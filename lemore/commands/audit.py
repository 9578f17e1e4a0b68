"""Make a page of what prepare found in a dataset: counts, faults, classes, samples.

Example:
  lemore audit --data resources/datasets/camvid --output camvid.html
"""

import argparse
from pathlib import Path

from lemore.stages.audit import write_audit_page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of a prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="HTML page")


def run(args: argparse.Namespace) -> int:
    write_audit_page(args.data, args.output)
    print(args.output)
    return 0
