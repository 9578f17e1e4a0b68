"""Predict the classes or objects in images and videos of your own.

Inputs are files, folders (with their subfolders), patterns such as "shots/**/*.jpg", and - for a
list on standard input. Images are JPEG, PNG, WebP, BMP or TIFF and are turned upright by their EXIF
orientation; videos give an overlay video without sound. Outputs go to OUTPUT/overlay, index, color,
boxes, and OUTPUT/shares.csv or .json; OUTPUT/classes.csv says what values and colours mean. A bad
file is reported and does not stop the others; the exit code is then 1.

Examples:
  lemore predict --checkpoint lemore-camvid street.jpg
  lemore predict --checkpoint camvid/lemore --output out street.jpg photos/
  find . -name "*.jpg" -print0 | lemore predict --checkpoint weights.pt --output out --index -
"""

import argparse
import re
from pathlib import Path
from typing import Literal

from lemore.commands._options import add_device
from lemore.config.read import option, positive
from lemore.config.values import Share
from lemore.runtime.process import count_cores
from lemore.trained.detector import SCORE
from lemore.trained.find import DATA_DIR, HELP_EXPORTED
from lemore.trained.predict.files import GPU_BATCH, PredictOptions, predict_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="file, folder, pattern or -")
    parser.add_argument("--checkpoint", required=True, help=HELP_EXPORTED)
    parser.add_argument(
        "--output", type=Path, default=Path("predictions"), help="folder of the outputs"
    )
    what = parser.add_argument_group("what is written (by itself overlays, and boxes)")
    what.add_argument("--overlay", action="store_true", help="class colours over the image")
    what.add_argument("--index", action="store_true", help="gray PNGs of train ids")
    what.add_argument("--color", action="store_true", help="class colours alone")
    what.add_argument("--boxes", action="store_true", help="COCO's JSON, of a detector")
    what.add_argument("--shares", choices=("csv", "json"), help="share of each class")
    what.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    what.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--size",
        type=parse_size,
        metavar="LONGxSHORT|original",
        help="pixels that the network sees; without it, as the model was evaluated",
    )
    how.add_argument(
        "--tile",
        type=parse_pair,
        metavar="N|HxW",
        help="overlapping tiles; by itself only where --size has more than 2048x1024 pixels",
    )
    how.add_argument("--overlap", type=parse_pair, metavar="N|HxW", help="default: tile / 4")
    how.add_argument(
        "--score",
        type=option(Share),
        help=f"least score of a detector's box, 0 to 1; default {SCORE}",
    )
    how.add_argument(
        "--batch-size",
        type=positive,
        help=f"images of one size, or tiles, at a time; default 1, on a GPU {GPU_BATCH}",
    )
    add_device(how, "the GPU if there is one")
    threads = "CPU threads (default: all cores)"
    how.add_argument("--threads", type=positive, default=count_cores(), help=threads)
    how.add_argument("--data-dir", type=Path, default=DATA_DIR, help="prepared datasets")


def parse_pair(text: str) -> tuple[int, int]:
    """Parses `512` or `512x1024`."""
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}', expected a number of pixels or two: 512x1024")
    return int(match[1]), int(match[2] or match[1])


def parse_size(text: str) -> tuple[int, int] | Literal["original"]:
    return "original" if text == "original" else parse_pair(text)


def run(args: argparse.Namespace) -> int:
    return predict_files(PredictOptions(**vars(args)))
