"""Pretrain a backbone as an image classifier (recipe: reconstructed, the paper gives none).

Example:
  lemore pretrain --config results/scenes/config/pretrain/lemore.yaml \\
    --data resources/datasets/imagenet_1k_scenes --output /tmp/lemore \\
    --checkpoints /tmp/lemore/checkpoints
"""

import argparse

from lemore.commands._options import add_training_arguments
from lemore.stages.pretrain import pretrain
from lemore.stages.training import Placement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return pretrain(Placement(**vars(args)))
