"""Draw a small stand-in dataset, packed exactly like the genuine archives.

Street and room scenes (or single objects for classification) by the configuration's seed and size:
the same bytes on every run. `lemore fetch` and `lemore prepare` then treat them like the real ones.
"""

import argparse
from pathlib import Path

from lemore.config import load, positive
from lemore.data.fetch import record, summary
from lemore.data.scene_archives import write_files
from lemore.data.scene_layouts import archives
from lemore.data.schema import DatasetConfig
from lemore.files import sha256, write_json
from lemore.machine import cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset-config", type=Path, required=True, help="config/datasets/*.yaml")
    parser.add_argument("--output", type=Path, required=True, help="folder for the archives")
    parser.add_argument(
        "--workers", type=positive, default=cores(), help="processes; default: all cores"
    )


def run(args: argparse.Namespace) -> int:
    config = load(DatasetConfig, args.dataset_config)
    name = args.dataset_config.stem
    if config.scenes is None:
        raise ValueError(f"{args.dataset_config}: scenes is null; `lemore fetch` gets this dataset")
    paths = write_files(args.output, archives(name, config, args.workers))
    found = summary(name, [record(path, sha256(path)) for path in paths])
    write_json(args.output / "digest.json", {**found, "scenes": True, "seed": config.scenes.seed})
    for path in paths:
        print(f"{path}: {path.stat().st_size} bytes")
    return 0
