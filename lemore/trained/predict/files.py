"""Predicts the classes in images and videos that a command line names."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from lemore.config.formats import find_kind
from lemore.runtime.device import DeviceName, choose_device
from lemore.runtime.files import write_atomic
from lemore.trained.detector import DetectionModel
from lemore.trained.load import load
from lemore.trained.model import Geometry, Model, Size
from lemore.trained.predict.batch import (
    FileTask,
    Predictor,
    Reporter,
    describe_error,
    escape_unprintable,
)
from lemore.trained.predict.inputs import find_inputs, name_outputs, split_list
from lemore.trained.predict.outputs import (
    LEGEND,
    SUFFIXES,
    OutputPlan,
    format_legend,
    open_shares,
)
from lemore.trained.predict.video import is_video

log = logging.getLogger(__name__)
GPU_BATCH = 8


@dataclass(frozen=True)
class PredictOptions:
    """The options of `lemore predict`, whose help describes them."""

    inputs: list[str]
    checkpoint: str
    output: Path
    overlay: bool
    index: bool
    color: bool
    boxes: bool
    shares: Literal["csv", "json"] | None
    overwrite: bool
    json: bool
    size: Size | Literal["original"] | None
    tile: Size | None
    overlap: Size | None
    score: float | None
    batch_size: int | None
    device: DeviceName
    threads: int
    data_dir: Path


def predict_files(options: PredictOptions) -> int:
    """Writes the outputs of every input that can be read; returns 1 if one could not."""
    torch.set_num_threads(options.threads)
    geometry = Geometry(options.size, options.tile, options.overlap)
    on_cpu = options.device == "auto" and find_kind(options.checkpoint) is not None
    device = choose_device("cpu" if on_cpu else options.device)
    model = load(options.checkpoint, device=device, data_dir=options.data_dir)
    name = escape_unprintable(options.checkpoint)
    if model.licence:
        log.info("%s: licence of the weights: %s", name, model.licence)
    for licence in model.start_licences:
        log.info("%s: made from weights under: %s", name, licence)
    model.check_geometry(geometry)
    reporter = Reporter(options.json)
    plan = OutputPlan(options.output, choose_kinds(options, model), options.shares)
    if isinstance(model, DetectionModel) and options.score is not None:
        model.score = options.score
    legend = format_legend(model.classes, model.colors, model.category_ids)
    tasks = plan_tasks(options, plan, legend, reporter)
    write_atomic(options.output / LEGEND, legend)
    # On a CPU a batch is slower than its images one by one.
    batch_size = options.batch_size or (GPU_BATCH if device.type == "cuda" else 1)
    with open_shares(plan.shares_file, model.classes) as add_shares:
        predictor = Predictor(model, geometry, batch_size, add_shares, reporter)
        predictor.predict_images([task for task in tasks if not task.video])
        predictor.predict_videos([task for task in tasks if task.video])
    if not options.json:
        total = reporter.done + reporter.failed
        folder = escape_unprintable(str(options.output))
        print(f"{reporter.done} of {total} predicted, in {folder}")
    return 1 if reporter.failed else 0


def choose_kinds(options: PredictOptions, model: Model | DetectionModel) -> tuple[str, ...]:
    """Chooses the kinds of files; ValueError for an option that the model's task does not have."""
    detects = isinstance(model, DetectionModel)
    given = {name: bool(getattr(options, name)) for name in ("index", "color", "boxes", "shares")}
    given["score"] = options.score is not None
    for name, chosen in given.items():
        if chosen and detects != (name in ("boxes", "score")):
            does = "detects objects" if detects else "segments"
            raise ValueError(f"--{name}: {model.name} {does}; leave it out")
    kinds = tuple(kind for kind in SUFFIXES if getattr(options, kind))
    return kinds if kinds or options.shares else model.default_kinds


def plan_tasks(
    options: PredictOptions, plan: OutputPlan, legend: str, reporter: Reporter
) -> list[FileTask]:
    """Returns the inputs with every file that will be written; reports unusable inputs.

    ValueError, before anything is written, if there is no input at all, or an output exists.
    """
    found, problems = find_inputs(read_arguments(options.inputs), options.output)
    if not found and problems:
        raise ValueError(f"{escape_unprintable(problems[0][0])}: {problems[0][1]}")
    for argument, problem in problems:
        reporter.report_failure(argument, f"{problem}; check the path")
    tasks = []
    for item, name in zip(found, name_outputs(found), strict=True):
        try:
            video = is_video(item.path)
        except (ValueError, OSError) as error:
            reporter.report_failure(item.path, f"{describe_error(error)}; leave it out")
            continue
        tasks.append(FileTask(item.path, video, plan.name_files(name, video)))
    files = [path for task in tasks for path in task.files.values()]
    plan.check(files, [item.path for item in found], legend, options.overwrite)
    return tasks


def read_arguments(arguments: list[str]) -> list[str]:
    """Returns the arguments, with `-` replaced by the list on standard input."""
    paths: list[str] = []
    for argument in arguments:
        paths += split_list(sys.stdin.buffer.read()) if argument == "-" else [argument]
    if not paths:
        raise ValueError("-: the list on standard input is empty")
    return paths
