"""Writes each job of a run as YAML below results/<run>/config, and what stands for the content of
files that it takes. Torch-free.

Every function returns the file's path, for use as a rule's input.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from lemore.config.checkpoints import HUB, find_checkpoint, list_files
from lemore.config.experiment import Experiment
from lemore.config.jobs import (
    CountJob,
    DeployJob,
    DiagramJob,
    EvaluateJob,
    FinetuneJob,
    PretrainJob,
    ProfileJob,
    write_job,
)
from lemore.config.labels import find_table_file
from lemore.config.model import find_init_file, get_start
from lemore.config.placed import find_key, find_placed
from lemore.runtime.files import read_json, write_atomic, write_json
from lemore.runtime.hashes import hash_files, stamp_files

HASHES = Path("resources/hashes.json")  # of files that configurations name


def write_finetune_job(experiment: Experiment, dataset: str, model: str) -> str:
    train, _ = experiment.recipe(dataset, model)
    config = experiment.model(model)
    job = FinetuneJob(
        run=experiment.config.run,
        dataset=dataset,
        num_classes=experiment.dataset(dataset).num_classes,
        model_name=model,
        model=config,
        backbone=experiment.backbone(config.backbone),
        init=experiment.init(model),
        train=train,
    )
    return _write(experiment, f"finetune/{dataset}/{model}", job)


def write_pretrain_job(experiment: Experiment, backbone: str) -> str:
    dataset = experiment.config.pretrain
    assert dataset is not None
    job = PretrainJob(
        **_describe_data(experiment, dataset),
        num_classes=experiment.dataset(dataset).num_classes,
        backbone_name=backbone,
        backbone=experiment.backbone(backbone),
        recipe=experiment.pretrain_recipe(backbone),
    )
    return _write(experiment, f"pretrain/{backbone}", job)


def write_evaluate_job(experiment: Experiment, dataset: str, model: str) -> str:
    _, test = experiment.recipe(dataset, model)
    job = EvaluateJob(
        **_describe_data(experiment, dataset),
        classes=tuple(experiment.classes(dataset)),
        images=tuple(experiment.images(dataset)),
        test=test,
    )
    return _write(experiment, f"evaluate/{dataset}/{model}", job)


def write_profile_job(experiment: Experiment, model: str) -> str:
    job = _make_profile_job(experiment, model, experiment.profiles[model])
    return _write(experiment, f"profile/{model}", job)


def write_deploy_job(experiment: Experiment, dataset: str, model: str) -> str:
    train, test = experiment.recipe(dataset, model)
    job = DeployJob(
        **_describe_data(experiment, dataset),
        model_name=model,
        formats=experiment.deployments[dataset, model],
        size=train.crop_size,
        test=test,
        calibration_images=experiment.config.calibration_images,
        latency_seconds=experiment.config.latency_seconds,
        threads=experiment.config.deployment_threads,
    )
    return _write(experiment, f"deploy/{dataset}/{model}", job)


def write_count_job(experiment: Experiment) -> str:
    models = [_make_profile_job(experiment, *item) for item in experiment.counted.items()]
    return _write(experiment, "count", CountJob(experiment.config.run, tuple(models)))


def _make_profile_job(experiment: Experiment, model: str, places: tuple[str, ...]) -> ProfileJob:
    config = experiment.model(model)
    return ProfileJob(
        run=experiment.config.run,
        model_name=model,
        model=config,
        backbone=experiment.backbone(config.backbone),
        latency_seconds=experiment.config.latency_seconds,
        latency_backends=experiment.config.latency_backends,
        latency_upsample=experiment.config.latency_upsample,
        cells=tuple(experiment.profile_cell(model, place) for place in places),
    )


def write_diagram_job(experiment: Experiment, model: str) -> str:
    """Writes a model's backbone at the size of the paper's Table 1."""
    config = experiment.model(model)
    job = DiagramJob(config.label, experiment.backbone(config.backbone), (512, 512))
    return _write(experiment, "diagram", job)


def write_prepare_job(experiment: Experiment, dataset: str) -> str:
    """Writes a dataset's configuration, the same for all runs.

    `video` is left out, since it does not change what is prepared.
    """
    path = Path("resources/config") / f"{dataset}.yaml"
    write_job(path, replace(experiment.dataset(dataset), video=None))
    return str(path)


@cache
def write_labels(experiment: Experiment, dataset: str) -> list[str]:
    """Returns the label table on which the prepared labels depend, [] if there is none: that of
    this folder, or a copy of the package's own, which an installation may move."""
    table = experiment.dataset(dataset).labels
    if table is None:
        return []
    path = find_table_file(table)
    here = not path.is_absolute()
    copy = Path("resources/labels") / path.name
    return [str(path) if here else _write_text(copy, path.read_text("utf-8"))]


@cache
def write_placed(experiment: Experiment, dataset: str) -> str:
    """Writes a text that changes with the files that somebody has placed for a dataset."""
    config, name = experiment.dataset(dataset), f"{dataset}.txt"
    placed = find_placed(dataset, config, Path(experiment.config.archives_dir))
    key = find_key(placed, Path("resources/fetched") / f"{dataset}.json")
    return _write_text(Path("resources/placed") / name, f"{key}\n")


@cache
def write_init(experiment: Experiment, model: str) -> list[str]:
    """Writes the hashes of the files of weights that a model starts from; [] if it names none."""
    init = experiment.init(model)
    name = experiment.model(model).backbone
    file, start = find_init_file(init), get_start(init)
    files = [file] if file else []
    if start and not start.startswith(HUB):
        name, files = f"models/{model}", list_files(find_checkpoint(start))
    return _write_hashes(experiment, f"init/{name}", files)


@cache
def write_teacher(experiment: Experiment, dataset: str, model: str) -> list[str]:
    """Writes the hashes of the files of the model that teaches another; [] if none does."""
    teacher = experiment.recipe(dataset, model)[0].teacher
    if teacher is None or teacher.name.startswith(HUB):
        return []
    files = list_files(find_checkpoint(teacher.name))
    return _write_hashes(experiment, f"teacher/{dataset}/{model}", files)


def _write_hashes(experiment: Experiment, name: str, files: list[Path]) -> list[str]:
    if not files:
        return []
    stamps = stamp_files(Path(), map(str, files))
    known = read_json(HASHES) if HASHES.exists() else {}
    hashes = hash_files(Path(), stamps, known)
    if known != known | hashes:
        write_json(HASHES, known | hashes)
    path = experiment.results / f"config/{name}.txt"
    return [_write_text(path, "".join(f"{hashes[str(f)][2]}  {f}\n" for f in files))]


def _write_text(path: Path, text: str) -> str:
    if not path.exists() or path.read_text("utf-8") != text:  # else its time would change
        write_atomic(path, text, durable=False)
    return str(path)


def _describe_data(experiment: Experiment, dataset: str) -> dict[str, Any]:
    config = experiment.dataset(dataset)
    return {
        "run": experiment.config.run,
        "dataset": dataset,
        "stands_for": config.stands_for,
        "scenes": config.scenes is not None,
    }


def _write(experiment: Experiment, name: str, job: Any) -> str:
    path = experiment.results / "config" / f"{name}.yaml"
    write_job(path, job)
    return str(path)
