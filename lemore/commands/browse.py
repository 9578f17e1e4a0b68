"""Draw a contact sheet of a prepared dataset, or of the crops that training makes of it.

Examples:
  lemore browse --data resources/datasets/camvid --split val --output val.png
  lemore browse --data resources/datasets/camvid --output crops.png \\
    --config results/camvid/config/finetune/camvid/lemore.yaml
"""

import argparse
from pathlib import Path

from lemore.config.read import option, positive
from lemore.config.values import Seed
from lemore.stages.browse import draw_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of a prepared dataset")
    parser.add_argument("--split", default="train", help="for samples; crops come from train")
    parser.add_argument("--number", type=positive, default=24, help="pictures on the sheet")
    parser.add_argument("--config", type=Path, help="a training's resolved YAML: draw its crops")
    parser.add_argument("--seed", type=option(Seed), default=0, help="the training's; for crops")
    parser.add_argument("--output", type=Path, required=True, help="PNG; a PDF comes with it")


def run(args: argparse.Namespace) -> int:
    draw_dataset(**vars(args))
    return 0
