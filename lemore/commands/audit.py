"""Make a page of what prepare found in a dataset: counts, faults, classes, samples.

Example:
  lemore audit --data resources/datasets/camvid --output camvid.html
"""

import argparse
from pathlib import Path

from lemore.reporting.pages.audit import render
from lemore.runtime.files import read_json, write_atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of a prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="HTML page")


def run(args: argparse.Namespace) -> int:
    audit = read_json(args.data / "audit.json")
    sheets = [args.data / "thumbnails" / f"{split}.jpg" for split in audit["splits"]]
    colors = read_json(args.data / "colors.json")
    write_atomic(args.output, render(audit, colors, [path for path in sheets if path.exists()]))
    print(args.output)
    return 0
