"""Map a fetched dataset to train ids and pack it for training, with an audit of what is in it.

Reads straight from the archives (or the unpacked folder) that `lemore fetch` or `lemore scenes`
named, says what it found, and writes packs, digest.json, audit.json and thumbnails to the output
folder as a whole. Interrupted, it goes on where it was.
"""

import argparse
import logging
from pathlib import Path

from lemore.config.code import code_version
from lemore.config.dataset import DatasetConfig
from lemore.config.read import load, positive
from lemore.data.prepare.explain import explain
from lemore.data.prepare.prepare import opened, prepare
from lemore.runtime.machine import cores

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset-config", type=Path, required=True, help="config/datasets/*.yaml")
    parser.add_argument("--fetched", type=Path, required=True, help="JSON of fetch or scenes")
    parser.add_argument("--output", type=Path, required=True, help="folder of the prepared dataset")
    parser.add_argument(
        "--workers", type=positive, default=cores(), help="processes; default: all cores"
    )
    parser.add_argument(
        "--allow-partial", action="store_true", help="accept other image counts than expected"
    )

    parser.add_argument("--dry-run", action="store_true", help="only say what was found")


def run(args: argparse.Namespace) -> int:
    config = load(DatasetConfig, args.dataset_config)
    name = args.dataset_config.stem
    faults = 0
    for fault, line in explain(config, opened(name, args.fetched)[0]):
        faults += fault
        log.log(logging.WARNING if fault else logging.INFO, "%s", line)
    if args.dry_run:
        return 1 if faults else 0
    digest = prepare(
        name,
        config,
        args.fetched,
        args.output,
        code=code_version("prepare", [f"lemore.data.readers.{config.reader}"]),
        workers=args.workers,
        allow_partial=args.allow_partial,
    )
    counts = ", ".join(f"{split} {part['count']}" for split, part in digest["splits"].items())
    print(f"{args.output}: {digest['dataset']}, {digest['num_classes']} classes, {counts}")
    return 0
