"""Find or download a dataset's archives, resume what was cut, and check every byte.

A file placed by hand in ARCHIVES_DIR/<dataset>/ is accepted after its check, a folder unpacked
there is taken in place, also read-only. Mirrors (a folder, file:// or http(s) base) come before
the published addresses. Cityscapes and ImageNet need an account: the message says what to place.

Examples:
  lemore fetch --dataset-config config/datasets/camvid.yaml --archives-dir resources/archives \\
    --output resources/fetched/camvid.json
  lemore fetch --dataset-config config/datasets/ade20k.yaml --archives-dir /data/archives \\
    --mirror https://mirror.example.org/ade20k --output resources/fetched/ade20k.json
"""

import argparse
from pathlib import Path

from lemore.stages.fetch import fetch_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset-config", type=Path, required=True, help="config/datasets/*.yaml")
    parser.add_argument("--archives-dir", type=Path, required=True, help="where archives live")
    parser.add_argument("--mirror", action="append", default=[], help="tried first; repeatable")
    parser.add_argument("--output", type=Path, required=True, help="JSON of what was found")


def run(args: argparse.Namespace) -> int:
    record = fetch_dataset(args.dataset_config, args.archives_dir, args.mirror, args.output)
    for entry in record["archives"]:
        print(f"{entry['path']}: {entry['bytes']} bytes, sha256 {entry['sha256']}")
    if "folder" in record:
        print(f"{record['folder']}: unpacked folder")
    return 0
