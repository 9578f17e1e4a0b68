"""Map a fetched dataset to train ids and pack it for training, with an audit of what is in it.

Reads straight from the archives (or the unpacked folder) that `lemore fetch` or `lemore scenes`
named, says what it found, and writes packs, digest.json, audit.json and thumbnails to the output
folder as a whole. After an interruption it resumes where it was.
"""

import argparse
from pathlib import Path

from lemore.config.read import positive
from lemore.runtime.process import count_cores
from lemore.stages.prepare import prepare_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset-config", type=Path, required=True, help="config/datasets/*.yaml")
    parser.add_argument("--fetched", type=Path, required=True, help="JSON of fetch or scenes")
    parser.add_argument("--output", type=Path, required=True, help="folder of the prepared dataset")
    workers = "processes (default: all cores)"
    parser.add_argument("--workers", type=positive, default=count_cores(), help=workers)
    parser.add_argument("--allow-partial", action="store_true", help="accept other image counts")
    parser.add_argument("--dry-run", action="store_true", help="only say what was found")


def run(args: argparse.Namespace) -> int:
    return prepare_dataset(**vars(args))
