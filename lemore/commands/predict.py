"""Predict the classes in images and videos of your own.

Inputs are files, folders (with their subfolders), patterns such as "shots/**/*.jpg", and - for a
list on standard input. Images are JPEG, PNG, WebP, BMP or TIFF and are turned upright by their EXIF
orientation; videos give an overlay video without sound. Outputs go to OUTPUT/overlay, index, color,
and OUTPUT/shares.csv or .json; OUTPUT/classes.csv says what values and colours mean. A bad file is
reported and does not stop the others; the exit code is then 1.

Examples:
  lemore predict --checkpoint camvid/lemore --output out street.jpg photos/
  find . -name "*.jpg" -print0 | lemore predict --checkpoint weights.pt --output out --index -
"""

import argparse
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, get_args

import torch

from lemore.config.read import positive
from lemore.evaluation import segmentation
from lemore.reporting.prediction import Kind
from lemore.runtime.files import write_atomic
from lemore.runtime.machine import cores
from lemore.trained import classes, find
from lemore.trained import model as _predictor
from lemore.trained.model import Geometry
from lemore.trained.predict import inputs, video
from lemore.trained.predict.batch import Job, Report, Worker, in_words, printable
from lemore.trained.predict.outputs import LEGEND, Plan, Shares, legend

STDIN = "-"
GPU_BATCH = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="file, folder, pattern or -")
    parser.add_argument("--checkpoint", required=True, help=find.HELP)
    parser.add_argument("--output", type=Path, required=True, help="folder of the outputs")
    what = parser.add_argument_group("what is written (overlays, if none of these is chosen)")
    what.add_argument("--overlay", action="store_true", help="class colours over the image")
    what.add_argument("--index", action="store_true", help="gray PNGs of train ids")
    what.add_argument("--color", action="store_true", help="class colours alone")
    what.add_argument("--shares", choices=("csv", "json"), help="share of each class")
    what.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    what.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--size",
        type=size_option,
        metavar="LONGxSHORT|original",
        help="pixels that the network sees; without it, as the model was evaluated",
    )
    how.add_argument(
        "--tile",
        type=pair_option,
        metavar="N|HxW",
        help="overlapping tiles; by itself only where --size has more than 2048x1024 pixels",
    )
    how.add_argument("--overlap", type=pair_option, metavar="N|HxW", help="default: tile / 4")
    how.add_argument(
        "--batch-size",
        type=positive,
        help=f"images of one size, or tiles, at a time; default 1, on a GPU {GPU_BATCH}",
    )
    how.add_argument("--gpu", action="store_true", help="run on the GPU")
    how.add_argument("--threads", type=positive, default=cores(), help="CPU threads")
    how.add_argument(
        "--data-dir",
        type=Path,
        default=classes.DATA_DIR,
        help="prepared datasets, for the names of the classes",
    )


def pair_option(text: str) -> tuple[int, int]:
    """`512` or `512x1024`."""
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}', expected a number of pixels or two: 512x1024")
    return int(match[1]), int(match[2] or match[1])


def size_option(text: str) -> tuple[int, int] | Literal["original"]:
    return "original" if text == "original" else pair_option(text)


def run(args: argparse.Namespace) -> int:
    usual = GPU_BATCH if args.gpu else 1  # on a CPU a batch is slower than its images one by one
    batch_size = usual if args.batch_size is None else args.batch_size
    if batch_size < 1 or args.threads < 1:
        raise ValueError("--batch-size and --threads must be at least 1")
    torch.set_num_threads(args.threads)
    geometry = Geometry(args.size, args.tile, args.overlap)
    device = segmentation.device_of(args.gpu)
    model = _predictor.load(args.checkpoint, device=device, data_dir=args.data_dir)
    model.check(geometry)
    report = Report(args.json)
    plan = Plan(args.output, chosen_kinds(args), args.shares)
    table = legend(model.classes, model.colors)
    jobs = plan_jobs(args, plan, table, report)
    write_atomic(args.output / LEGEND, table)
    file = plan.shares_file
    with Shares(file, model.classes) if file else nullcontext() as shares:
        worker = Worker(model, geometry, batch_size, shares, report)
        worker.images([job for job in jobs if not job.video])
        worker.videos([job for job in jobs if job.video])
    if not args.json:
        total = report.done + report.failed
        print(f"{report.done} of {total} predicted, in {printable(str(args.output))}")
    return 1 if report.failed else 0


def chosen_kinds(args: argparse.Namespace) -> tuple[Kind, ...]:
    kinds: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if getattr(args, kind))
    return kinds if kinds or args.shares else ("overlay",)


def plan_jobs(args: argparse.Namespace, plan: Plan, table: str, report: Report) -> list[Job]:
    """What there is to do, with every file that will be written; problems are reported.

    ValueError, before anything is written, if no input is found at all, or an output exists.
    """
    found, problems = inputs.find(expanded(args.inputs), args.output)
    if not found and problems:
        raise ValueError(f"{printable(problems[0][0])}: {problems[0][1]}")
    for argument, problem in problems:
        report.failure(argument, f"{problem}; check the path")
    jobs = []
    for item, name in zip(found, inputs.output_names(found), strict=True):
        try:
            film = video.is_video(item.path)
        except (ValueError, OSError) as error:
            report.failure(item.path, f"{in_words(error)}; leave it out")
            continue
        jobs.append(Job(item.path, film, plan.files(name, film)))
    files = [path for job in jobs for path in job.files.values()]
    plan.check(files, [item.path for item in found], table, args.overwrite)
    return jobs


def expanded(arguments: list[str]) -> list[str]:
    """The arguments, with `-` replaced by the list on standard input."""
    listed: list[str] = []
    for argument in arguments:
        from_list = argument == STDIN
        listed += inputs.split_list(sys.stdin.buffer.read()) if from_list else [argument]
    if not listed:
        raise ValueError("-: the list on standard input is empty")
    return listed
