"""Train a model on photos with masks or boxes of your own, from their folders to a report.

Masks are pictures in which each class has a colour or a value, or polygons of COCO, YOLO or
LabelMe. A detector (--model retinanet_lemore) learns from the boxes of a JSON of COCO's form. The
command finds classes, names and splits, chooses crop, scale, batch and iterations, writes them as
YAML into a project folder, says how long it will take, and runs the pipeline there.

Examples:
  lemore train --images photos --masks masks
  lemore train ponds --model topformer_t --output ponds-topformer --dry-run
  lemore train --images photos --masks boxes.json --model retinanet_lemore
"""

import argparse
from pathlib import Path

from lemore.config.read import positive
from lemore.stages.own.run import train
from lemore.trained.find import HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, nargs="?", help="folder with both, or a dataset's YAML")
    parser.add_argument("--images", type=Path, help="folder of photos")
    parser.add_argument(
        "--masks",
        type=Path,
        help="folder of masks, or polygons; for a detector COCO's JSON with boxes, or their folder",
    )
    parser.add_argument("--model", default="lemore", help="name of a file in config/models")
    parser.add_argument("--init", metavar="CHECKPOINT", help=f"start from it: {HELP}")
    parser.add_argument("--output", type=Path, help="project folder (default: <data>-<model>)")
    parser.add_argument("--iterations", type=positive, help="default: by the number of photos")
    parser.add_argument(
        "--exif",
        choices=("shown", "stored"),
        help="photos that a camera has turned: masks and polygons fit what a viewer shows, or the "
        "pixels as stored",
    )
    parser.add_argument("--cores", type=positive, help="default: all")
    parser.add_argument("--dry-run", action="store_true", help="write and plan, but do not train")


def run(args: argparse.Namespace) -> int:
    train(**vars(args))
    return 0
