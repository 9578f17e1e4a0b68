"""Draw a small stand-in dataset, packed exactly like the genuine archives.

Rooms, streets and landscapes (or single objects for classification) by the configuration's seed
and size: the same bytes on every run. `lemore fetch` and `lemore prepare` then treat them like the
real ones.
"""

import argparse
from pathlib import Path

from lemore.config.read import positive
from lemore.runtime.process import count_cores
from lemore.stages.scenes import draw_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset-config", type=Path, required=True, help="config/datasets/*.yaml")
    parser.add_argument("--output", type=Path, required=True, help="folder for the archives")
    workers = "processes (default: all cores)"
    parser.add_argument("--workers", type=positive, default=count_cores(), help=workers)


def run(args: argparse.Namespace) -> int:
    return draw_dataset(args.dataset_config, args.output, workers=args.workers)
