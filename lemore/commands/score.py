"""Score label PNGs made by any program: mIoU and its companions from two folders.

Files are paired by name, whatever sub-folders they are in; where names differ, patterns say how,
and what does not fit them is passed over. With --dataset both folders hold that dataset's raw
values, as its benchmark server takes them, or are coded as the masks of a dataset of your own; with
--num-classes both hold train ids. A prediction outside the classes counts as wrong; a label value
that is neither a class nor ignored is refused.

Examples:
  lemore score --predictions maps --labels annotations --dataset ade20k --json score.json
  lemore score --predictions maps --labels masks --num-classes 19 --ignore-index 255
  lemore score --predictions maps --predictions-pattern "{name}_leftImg8bit.png" \\
    --labels gtFine/val --labels-pattern "{name}_gtFine_labelIds.png" --dataset cityscapes
"""

import argparse
from pathlib import Path

from lemore.stages.score import NAME, PLAIN, score


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--predictions", type=Path, required=True, help="folder of label PNGs")
    parser.add_argument("--labels", type=Path, required=True, help="folder of true label PNGs")
    for folder in ("predictions", "labels"):
        parser.add_argument(
            f"--{folder}-pattern",
            type=name_pattern,
            default=PLAIN,
            metavar="PATTERN",
            help="of its files' names; {name} is what pairs have in common",
        )
    coding = parser.add_mutually_exclusive_group(required=True)
    coding.add_argument("--dataset", help="values are this dataset's raw ones, e.g. ade20k")
    coding.add_argument("--num-classes", type=int, metavar="K", help="values are 0..K-1")
    parser.add_argument("--ignore-index", type=int, metavar="I", help="goes with --num-classes")
    parser.add_argument("--dataset-config", type=Path, metavar="F", help="in place of config/'s")
    parser.add_argument("--json", type=Path, metavar="OUT", help="file for the results")


def run(args: argparse.Namespace) -> int:
    print(score(**vars(args)))
    return 0


def name_pattern(text: str) -> str:
    if text.count(NAME) != 1 or "/" in text:
        raise argparse.ArgumentTypeError(f"'{text}', expected a file's name with {NAME} in it once")
    return text
