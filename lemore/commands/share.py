"""Write a trained model as a folder to share: weights, configuration and model card.

The folder holds model.safetensors, config.json with all that is needed to rebuild the model and to
read its predictions (class names, colours, the licence of the weights), and README.md, to be read
and completed before it is published. `lemore.load` and every --checkpoint take the folder.

Example:
  lemore share --checkpoint camvid/lemore --output shared/my-lemore \\
    --evaluation results/camvid/evaluate/camvid/lemore/0.json
"""

import argparse
from pathlib import Path

from lemore.config.read import option
from lemore.config.values import Note
from lemore.stages.share import share_model
from lemore.trained.find import DATA_DIR, HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help=HELP)
    parser.add_argument("--evaluation", type=Path, help="JSON of `lemore evaluate`, for the card")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--half", action="store_true", help="store the numbers as float16")
    parser.add_argument(
        "--licence",
        metavar="TEXT",
        type=option(Note),
        default="",
        help="of the weights, in one line; without it, the terms of the data",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a folder's model")
    parser.add_argument("--renew-card", action="store_true", help="even one changed by hand")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, help="prepared datasets")


def run(args: argparse.Namespace) -> int:
    share_model(**vars(args))
    return 0
