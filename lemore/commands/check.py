"""Check the jobs of a prepared dataset before any of them runs.

Images of comparisons that are not there, empty splits, photos too narrow for a recipe's scale,
networks that fit neither the crops nor the batches: each is named with its file and key.

Example:
  lemore check --data resources/datasets/ponds \\
    --finetune results/ponds/config/finetune/ponds/*.yaml \\
    --evaluate results/ponds/config/evaluate/ponds/*.yaml --output checked.json
"""

import argparse
from pathlib import Path

from lemore.config.read import positive
from lemore.stages.check import CheckOptions, check


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset (folder)")
    for stage in ("finetune", "evaluate", "pretrain"):
        parser.add_argument(
            f"--{stage}", type=Path, nargs="*", default=[], metavar="YAML", help="its jobs"
        )
    parser.add_argument("--workers", type=positive, default=1, help="of each training")
    parser.add_argument("--output", type=Path, required=True, help="file: what was checked (JSON)")


def run(args: argparse.Namespace) -> int:
    check(CheckOptions(**vars(args)))
    return 0
