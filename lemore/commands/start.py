"""Say what a fine-tuning would keep of the model that it starts from, and which one teaches.

Example:
  lemore start --config results/ponds/config/finetune/ponds/lemore.yaml \\
    --evaluation results/ponds/config/evaluate/ponds/lemore.yaml
"""

import argparse
from pathlib import Path

from lemore.stages.start import preview_start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="a fine-tuning's configuration")
    parser.add_argument(
        "--evaluation", type=Path, required=True, help="its evaluation's, which names the classes"
    )


def run(args: argparse.Namespace) -> int:
    print(preview_start(args.config, args.evaluation))
    return 0
