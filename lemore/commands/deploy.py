"""Write a trained model in several formats, and measure all of them and PyTorch in one run.

Example:
  lemore deploy --config results/scenes/config/deploy/ade20k_scenes/lemore.yaml \\
    --checkpoint results/scenes/finetune/ade20k_scenes/lemore/0/weights.pt \\
    --data resources/datasets/ade20k_scenes --output deployed --json deployed.json
"""

import argparse
from pathlib import Path

from lemore.stages.deploy import DeployOptions, deploy
from lemore.trained.find import HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="resolved deployment (YAML)")
    parser.add_argument("--checkpoint", required=True, help=HELP)
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset (folder)")
    parser.add_argument("--output", type=Path, required=True, help="folder of the files")
    parser.add_argument("--json", type=Path, required=True, help="file for the results")


def run(args: argparse.Namespace) -> int:
    record = deploy(DeployOptions(**vars(args)))
    for row in record["formats"]:
        agreement = row.get("agreement")
        equal = "" if agreement is None else f", {100 * agreement:.2f} % of the labels PyTorch's"
        print(
            f"{row['format']}: {row['bytes'] / 1e6:.2f} MB, mIoU {100 * row['miou']:.2f} %{equal}, "
            f"{row['latency']['p50_ms']:.1f} ms p50, {row['latency']['p95_ms']:.1f} ms p95"
        )
    return 0
