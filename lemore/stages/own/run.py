"""Chooses how to train on data of one's own, writes a project folder, and runs its pipeline."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import yaml

from lemore.config.checkpoints import HUB, find_checkpoint
from lemore.config.jobs import make_finetune_job
from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import did_you_mean, load
from lemore.config.recipe_files import load_recipe
from lemore.runtime.process import count_cores
from lemore.runtime.shipped import SHIPPED, WEIGHTS, list_names
from lemore.stages.own.data import RECIPES, OwnData, look
from lemore.stages.own.project import DEFAULT_PROFILE, FIRST_RUN, SNAKEFILE, write_project

STEP = 64  # pixels: crops are multiples of it
LOADERS = 8  # processes at most that load beside a GPU
LARGE = 512  # pixels of the short side from which a detector has the anchors of large photos


def train(
    data: str | os.PathLike[str] | None = None,
    *,
    images: str | os.PathLike[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    model: str = "lemore",
    init: str | None = None,
    output: str | os.PathLike[str] | None = None,
    iterations: int | None = None,
    exif: Literal["shown", "stored"] | None = None,
    cores: int | None = None,
    dry_run: bool = False,
) -> Path:
    """Trains a model on photos with masks, or a detector on photos with boxes; returns the path of
    its weights, for `lemore.load`.

    data: one folder with both, or a dataset's YAML; else images and masks, a folder each; a JSON of
    COCO's form, with polygons or boxes, may be in the masks' place. model: a file of config/models.
    init: a trained model to start from. output: the project folder to write. iterations: None for
    the rule of `choose_training`. exif: of photos that a camera has turned, whether masks and
    polygons belong to what a viewer shows or to the pixels as stored. cores: None for all. dry_run:
    stops before the training. ValueError says what is wrong with the data or the start before
    anything is written; ChildProcessError if the pipeline fails.
    """
    does = read_model(model).task
    start = resolve_start(init) if init else None
    paths = (Path(path) if path else None for path in (data, images, masks))
    own = look(*paths, task=does, exif=exif)
    if does != own.task:
        models = list_names("config/models")
        fitting = [name for name in models if read_model(name).task == own.task]
        raise ValueError(
            f"{model} is a model for {does}, but {data} is a dataset of {own.task}; name another "
            f"--model, one of {', '.join(fitting)}"
        )
    folder = Path(output or f"{own.name}-{model}")
    if any(folder.resolve().is_relative_to(path) for path in own.links.values()):
        raise ValueError(f"{folder}: lies in the folder of the data; choose another --output")
    cores = cores or count_cores()
    run = describe_run(own, model, start, choose_training(own, cores, has_gpu(), iterations))
    beginning = describe_start(own, model, start, run)
    write_run(folder, own, run)
    print(describe(own, run, folder, beginning))
    call(folder, "lemore.cli", "plan", "--calibrate", "2")
    again = f"cd {shlex.quote(str(folder))} && snakemake --cores {cores}"
    weights = folder / f"results/{own.name}/finetune/{own.name}/{model}/0/weights.pt"
    if not dry_run:
        logs = folder / f"logs/{own.name}/finetune/{own.name}/{model}"
        print(f"progress of the training: {logs}/0.log")
        call(folder, "snakemake", "--cores", str(cores), "--quiet", "rules", "reason")
        print(f"report: {folder}/results/{own.name}/report.html\nweights: {weights}")
    print(f"{'to train' if dry_run else 'again, after changes too'}: {again}")
    return weights


def read_model(name: str) -> ModelConfig:
    if name not in (known := list_names("config/models")):
        raise ValueError(f"no model '{name}'{did_you_mean(name, known)}")
    return load(ModelConfig, f"config/models/{name}.yaml")


def resolve_start(name: str) -> str:
    """Returns a trained model as a run in another folder names it; ValueError if there is none."""
    if name.startswith(HUB):
        return name
    path = find_checkpoint(name).resolve()
    return path.name if path.parent == WEIGHTS.resolve() else str(path)


def describe_start(own: OwnData, model: str, start: str | None, run: dict[str, Any]) -> str:
    """Says what the training would start from; ValueError for a model that cannot be that."""
    recipes, name = Path(run["recipes"]), own.values["recipe"]
    recipe, _ = load_recipe(recipes, name, model, run["recipe_changes"])
    job = make_finetune_job(own.name, own.name, len(own.classes), model, recipe)
    if start:
        from lemore.stages.start import describe_fit  # loads torch

        return describe_fit(job, start, own.classes)
    if job.backbone.init != "pretrain":
        return f"starts from {job.backbone.init}"
    return "starts from random weights; with --init a trained model, fewer photos are enough"


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def choose_training(own: OwnData, cores: int, gpu: bool, iterations: int | None) -> dict[str, Any]:
    """Chooses scale, crop, batch and length, as keys of a recipe.

    The short side is the median photo's, from 128 up to 360 pixels (512 with a GPU), the crop the
    largest multiple of 64 in it, up to 256 (512). A batch has 8 crops (16). On a CPU each training
    photo is seen 60 times, in 100 to 2,000 iterations; with a GPU 200 times, in 1,000 to 40,000.
    A detector has whole photos, half as many in a batch. With a GPU, other cores load.
    """
    most, largest_crop, batch = (512, 512, 16) if gpu else (360, 256, 8)
    times, least, longest = (200, 1000, 40_000) if gpu else (60, 100, 2000)
    short, long = sorted(own.size)
    scaled = max(2 * STEP, min(short, most))
    crop = min(scaled // STEP * STEP, largest_crop)
    size = [crop, crop]
    if own.task == "detection":
        size, batch = [round(side * scaled / short) for side in own.size], batch // 2
    length = iterations or min(max(times * own.counts["train"] // batch, least), longest)
    chosen: dict[str, Any] = {
        "img_scale": [round(long * scaled / short), scaled],
        "crop_size": size,
        "batch_size": batch,
        "iterations": length,
        "warmup_iterations": length // 10,
        "checkpoint_every": max(length // 10, 1),
        "validate_every": max(length // 3, 1),
        "threads": cores,
    }
    if gpu:
        chosen["loader_workers"] = min(cores - 1, LOADERS)
    if gpu and own.task == "segmentation":
        chosen["photometric_distortion"] = "device"
    if own.task == "detection" and scaled >= LARGE:
        chosen["detection_head"] = {"smallest_anchor": 32}
    return chosen


def describe_run(
    own: OwnData, model: str, start: str | None, training: dict[str, Any]
) -> dict[str, Any]:
    """Makes the run's file, whose keys config/config.yaml of the package explains."""
    backbone = read_model(model).backbone
    config = load(BackboneConfig, f"config/backbones/{backbone}.yaml")
    init = {backbone: "none"} if config.init == "pretrain" else {}
    height, width = training["crop_size"]
    test = {"split": own.test_split, "img_scale": list(training["img_scale"])}
    return {
        "run": own.name,
        "recipes": str(RECIPES[own.task].parent),
        "recipe_changes": {"train": training, "test": test},
        "archives_dir": "resources/archives",
        "data_dir": "resources/datasets",
        "seeds": [0],
        "pretrain": None,
        "init": init | ({model: f"checkpoint:{start}"} if start else {}),
        "trainings": {own.name: [model]},
        "profiles": {model: [f"{own.name}@{height}x{width}"]},
        "latency_seconds": 0.5,
        "paper_tables": False,
        "comparisons": {own.name: {"images": own.compared, "models": [model]}},
        "ray": {"mode": "none", "workers": 1, "gpus": int(has_gpu())},
        "log_model": False,
    }


def write_run(folder: Path, own: OwnData, run: dict[str, Any]) -> None:
    """Writes the project folder, unless it holds the same; ValueError if it holds another run."""
    notes = "".join(f"# assumed: {text}\n" for text in own.assumed)
    notes += "".join(f"# {name or own.name} -> {path}\n" for name, path in own.links.items())
    texts = {
        "Snakefile": SNAKEFILE,
        f"config/datasets/{own.name}.yaml": notes + dump_readable(own.values),
        str(FIRST_RUN): dump_readable(run),
        str(DEFAULT_PROFILE): (SHIPPED / DEFAULT_PROFILE).read_text("utf-8"),
    }
    for name, text in texts.items():
        path = folder / name
        if path.exists() and path.read_text("utf-8") != text:
            raise ValueError(
                f"{path}: differs from what these options give; run it by `snakemake` in {folder}, "
                "or choose another --output"
            )
    write_project(folder, texts)
    for name, path in own.links.items():
        link = folder / "resources/archives" / own.name / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path)


def dump_readable(values: dict[str, Any]) -> str:
    return yaml.safe_dump(
        values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )


def describe(own: OwnData, run: dict[str, Any], folder: Path, start: str) -> str:
    training = run["recipe_changes"]["train"]
    photos = ", ".join(f"{split} {number}" for split, number in own.counts.items())
    lines = [
        f"photos: {photos}; the median is {own.size[1]} x {own.size[0]} (W x H)",
        f"classes: {', '.join(own.classes)}",
        *(f"assumed: {text}" for text in own.assumed),
        f"model: {start}",
        f"training: {', '.join(f'{key} {value}' for key, value in training.items())}",
        f"written: {folder / FIRST_RUN} and config/datasets/{own.name}.yaml beside it",
    ]
    return "\n".join(lines)


def call(folder: Path, module: str, *arguments: str) -> None:
    """Runs a Python program in the project folder; ChildProcessError if it fails."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", module, *arguments]
    sys.stdout.flush()
    done = subprocess.run(command, cwd=folder, env=os.environ | {"PATH": programs})
    if done.returncode:
        raise ChildProcessError(f"{folder}: {module} ended with exit code {done.returncode}")
