"""Draw a small stand-in dataset, packed exactly like the genuine archives.

Street and room scenes (or single objects for classification) by the configuration's seed and size:
the same bytes on every run. `lemore fetch` and `lemore prepare` then treat them like the real ones.
"""

import argparse
from pathlib import Path

from lemore.config.dataset import DatasetConfig
from lemore.config.read import load, positive
from lemore.data.fetch.fetch import record, summary
from lemore.runtime.files import hash_file, write_json
from lemore.runtime.process import count_cores
from lemore.scenes.archives import write_files
from lemore.scenes.layouts import archives


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset-config", type=Path, required=True, help="config/datasets/*.yaml")
    parser.add_argument("--output", type=Path, required=True, help="folder for the archives")
    parser.add_argument(
        "--workers", type=positive, default=count_cores(), help="processes; default: all cores"
    )


def run(args: argparse.Namespace) -> int:
    config = load(DatasetConfig, args.dataset_config)
    name = args.dataset_config.stem
    if config.scenes is None:
        raise ValueError(f"{args.dataset_config}: scenes is null; `lemore fetch` gets this dataset")
    paths = write_files(args.output, archives(name, config, args.workers))
    found = summary(name, [record(path, hash_file(path)) for path in paths])
    write_json(args.output / "digest.json", {**found, "scenes": True, "seed": config.scenes.seed})
    for path in paths:
        print(f"{path}: {path.stat().st_size} bytes")
    return 0
