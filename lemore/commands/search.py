"""Search learning rate and schedule of a fine-tuning, judged by images that no table reports.

Each trial trains a part of the recipe's iterations. The best is then compared with the recipe as it
is, with other seeds; it is recommended only if the difference exceeds that between seeds.

Example:
  lemore search --config results/mine/config/finetune/mine/lemore.yaml \\
    --data resources/datasets/mine --output results/mine/search/mine/lemore.json
"""

import argparse
from pathlib import Path

from lemore.config.read import option
from lemore.config.values import Seed, SomeShare, Trials
from lemore.stages.search import SearchOptions, search


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="a fine-tuning's configuration")
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset (folder)")
    parser.add_argument("--pretrained", type=Path, help="run.json of the backbone's pretraining")
    parser.add_argument("--test-split", default="test", help="split that the tables report")
    parser.add_argument(
        "--trials", type=option(Trials), default=12, help="points tried, the recipe included"
    )
    parser.add_argument(
        "--share", type=option(SomeShare), default=0.25, help="of the recipe's iterations"
    )
    parser.add_argument("--seed", type=option(Seed), default=0)
    parser.add_argument("--gpus", type=float, default=0.0, help="GPUs of each trial")
    parser.add_argument("--output", type=Path, required=True, help="file of the result (JSON)")


def run(args: argparse.Namespace) -> int:
    record = search(SearchOptions(**vars(args)))
    print(f"{record['text']} ({args.output})")
    return 0
