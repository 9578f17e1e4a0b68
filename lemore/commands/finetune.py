"""Fine-tune a segmentation model on a prepared dataset.

Example:
  lemore finetune --config results/scenes/config/finetune/ade20k_scenes/lemore.yaml \\
    --data resources/datasets/ade20k_scenes --seed 0 --output /tmp/lemore \\
    --checkpoints /tmp/lemore/checkpoints
"""

import argparse
from pathlib import Path

from lemore.commands._options import add_training_arguments
from lemore.stages.finetune import finetune
from lemore.stages.training import Placement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser)
    parser.add_argument("--pretrained", type=Path, help="run.json of the backbone's pretraining")
    parser.add_argument("--evaluation", type=Path, help="its evaluation (YAML), checked first")


def run(args: argparse.Namespace) -> int:
    pretrained, evaluation = vars(args).pop("pretrained"), vars(args).pop("evaluation")
    return finetune(Placement(**vars(args)), pretrained, evaluation)
