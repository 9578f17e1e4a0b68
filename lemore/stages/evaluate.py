"""Evaluates a fine-tuned checkpoint on a prepared split, at the labels' original size."""

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lemore.config.code import list_loaded
from lemore.config.jobs import EvaluateJob, read_job
from lemore.config.read import build, check_gpus, parse_yaml, plain
from lemore.config.recipe import Test
from lemore.config.unread import check_unread
from lemore.data.store import Store
from lemore.evaluation import segmentation
from lemore.runtime.device import choose_device
from lemore.runtime.files import key_of, read_json, write_json
from lemore.runtime.process import StopSignals, leave_with_owner
from lemore.runtime.provenance import find_commit, list_versions, quote_command
from lemore.runtime.ray.cluster import Resources
from lemore.runtime.ray.execute import Work, execute, run
from lemore.runtime.tracking.pending_run import RunDescription, name_parent
from lemore.runtime.tracking.tracked_run import TrackedRun, track
from lemore.runtime.worker import Worker
from lemore.stages import evaluation_files
from lemore.stages.check import check_images, check_test
from lemore.stages.workers.evaluate import Measurement
from lemore.trained.checkpoint import Trained
from lemore.trained.classes import fit_classes
from lemore.trained.exported_file import check_use, make_square
from lemore.trained.find import read_model

TABLES = "mlflow.loggedArtifacts"  # tag by which MLflow finds a run's tables


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of the command. config: the job's YAML, None when evaluated by hand. test: changes to
    the test settings, each KEY=VALUE with the value in YAML. ray: where it runs. gpus: those that
    it takes, 0 for the CPU. json: file of the results."""

    checkpoint: str
    dataset: str
    data_dir: Path
    config: Path | None
    test: list[str]
    ray: Literal["local", "none"]
    gpus: float
    threads: int
    json: Path


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Writes the results (JSON, last), with the predictions of the job's images beside them.

    Returns the results. ValueError for classes, images or settings that do not fit the data.
    """
    leave_with_owner()
    evaluation_files.check_output(options.json)
    check_gpus(options.gpus, 1, "command line", "--gpus")
    if options.ray == "none":
        choose_device("cuda" if options.gpus > 0 else "cpu")
    trained = read_model(options.checkpoint)
    job = load_job(options, trained)
    check_use(trained, job.test, options.gpus > 0)
    store = Store(options.data_dir / options.dataset, job.test.split)
    check_task(trained, store)
    check_unread(store.task, "test", job.test, "--test: {}".format)
    check_classes(job, store)
    check_images(store, job.images)
    check_test(store, job.test)
    network = fit_classes(trained.network(), trained, store)
    classes = tuple(store.classes)
    with track(_describe_run(options, job, classes, trained)) as run:
        title = f"evaluate {trained.job.model_name} on {options.dataset}"
        settings = (job.test, job.images, trained.input_size, options.threads, title)
        found = _execute(options, Measurement(network, *settings))
        measure, counted = ("miou", "pixel") if store.task == "segmentation" else ("ap", "object")
        if found["results"][measure] is None:
            raise ValueError(
                f"{options.dataset}: split {job.test.split} has no {counted} that counts"
            )
        path, predictions = options.json, found.get("predictions", {})
        record = {
            **describe(options, job, classes, trained),
            **found["results"],
            "images": len(store),
            "predictions": evaluation_files.write_predictions(path, predictions),
            **evaluation_files.write_details(path, found),
            "num_classes": store.num_classes,
        }
        run.record_metrics(list_metrics(record))
        record |= {"mlflow_run_id": run.run_id}
        write_json(path, record)
        panels = evaluation_files.write_panels(path, store, predictions)
        add_artifacts(run, record, path, panels)
    return record


def check_task(trained: Trained, store: Store) -> None:
    """Raises ValueError unless the model does what the dataset is for."""
    if trained.job.model.task != store.task:
        raise ValueError(
            f"{trained.source}: {trained.job.model_name} is a model for {trained.job.model.task}, "
            f"but {store.dataset} is a dataset of {store.task}"
        )


def _execute(options: EvaluateOptions, measurement: Measurement) -> dict[str, Any]:
    """Measures where the options say; a signal ends it at once, as there is no state to save."""
    worker = Worker(
        data=(options.data_dir / options.dataset).absolute(),
        folder=(options.json.with_suffix("") / "work").absolute(),
        seed=0,
        gpus=options.gpus,
    )
    work = Work("lemore.stages.workers.evaluate:evaluate", measurement, worker)
    resources = Resources(options.ray, 1, options.threads, options.gpus)
    if options.ray == "none":
        return run(work.function, work.job, work.worker)
    try:
        return execute(work, resources, StopSignals(saves=False))
    finally:
        shutil.rmtree(worker.folder, ignore_errors=True)


def load_job(options: EvaluateOptions, trained: Trained) -> EvaluateJob:
    """Returns the job of a workflow, or the checkpoint's own settings when it is evaluated by
    hand, with the changes of --test."""
    if options.config is not None:
        job = read_job(EvaluateJob, options.config)
    else:
        test = trained.test
        if options.dataset != trained.job.dataset:
            plain_test = segmentation.make_plain_test(trained.job.train.img_scale)
            test = make_square(plain_test) if trained.format else plain_test
        job = EvaluateJob(
            run="by hand",
            dataset=options.dataset,
            stands_for=None,
            scenes=options.dataset.endswith("_scenes"),
            classes=(),
            images=(),
            test=test,
        )
    changes = parse_changes(options.test)
    if not changes:
        return job
    return replace(job, test=build(Test, plain(job.test) | changes, "--test", "test."))


def parse_changes(pairs: list[str]) -> dict[str, Any]:
    """Parses KEY=VALUE arguments; ValueError for another form or a key given twice."""
    changes: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key in changes:
            fault = "is given twice" if equals else "is not KEY=VALUE"
            raise ValueError(f"--test: '{pair}' {fault}")
        changes[key] = parse_yaml(value, f"--test: {key}")
    return changes


def check_classes(job: EvaluateJob, store: Store) -> None:
    """Raises ValueError if the job names other classes than the data were prepared with."""
    if job.classes and list(job.classes) != store.classes:
        raise ValueError(
            f"{store.folder}: prepared when the classes of {store.dataset} were others, or in "
            "another order; prepare it again"
        )


def describe(
    options: EvaluateOptions, job: EvaluateJob, classes: tuple[str, ...], trained: Trained
) -> dict[str, Any]:
    recipe, record = trained.job.train, trained.record
    return {
        "stage": "evaluate",
        "run": job.run,
        "dataset": options.dataset,
        "stands_for": job.stands_for,
        "scenes": job.scenes,
        "model": trained.job.model_name,
        "label": trained.job.model.label,
        "encoder": trained.job.model.encoder,
        "seed": record.seed,
        "split": job.test.split,
        "classes": list(classes),
        "train_crop": list(recipe.crop_size),
        "test_mode": describe_mode(job.test),
        "test_size": list(job.test.img_scale),
        "iterations": record.iterations or recipe.iterations,
        **({"most_iterations": recipe.iterations} if recipe.patience else {}),
        "recipe": recipe.source,
        "init": trained.job.init.partition(":")[0],
        "chosen_on": "val" if recipe.keep == "best" else "",
        "taught": recipe.teacher is not None,
        "format": trained.format,
        "device": "cuda" if options.gpus else "cpu",
        "finetune_run_id": record.mlflow_run_id,
        "pretrain_run_id": record.pretrain_run_id,
        "weights_sha256": record.weights_sha256,
        "data_sha256": read_json(options.data_dir / options.dataset / "digest.json")["sha256"],
        "command": quote_command(),
        "code": find_commit(),
        "versions": list_versions(),
        "modules": list_loaded("evaluate", sys.modules),
    }


def describe_mode(test: Test) -> str:
    """Describes a test mode for tables: "whole", "whole, ratios 0.5 1, flip"."""
    single = test.ratios == (1.0,)
    ratios = [] if single else [f"ratios {' '.join(f'{ratio:g}' for ratio in test.ratios)}"]
    return ", ".join([test.mode, *ratios, *(["flip"] if test.flip else [])])


def _describe_run(
    options: EvaluateOptions, job: EvaluateJob, classes: tuple[str, ...], trained: Trained
) -> RunDescription:
    record, dataset = trained.record, options.dataset
    data = read_json(options.data_dir / dataset / "digest.json")
    form = {"format": trained.format} if trained.format else {}
    return RunDescription(
        experiment=f"{job.run}/{dataset}",
        name=f"evaluate {trained.job.model_name} on {dataset}, seed {record.seed}",
        identity={
            "stage": "evaluate",
            "run": job.run,
            "dataset": dataset,
            "model": trained.job.model_name,
            "seed": str(record.seed),
            "test_mode": describe_mode(job.test),
            "test_size": "x".join(map(str, job.test.img_scale)),
            **form,
        },
        key=key_of(job, classes, record.weights_sha256, data["sha256"], dataset, *form.values()),
        params={"test": plain(job.test), "images": len(job.images)},
        parents={"pretrain": record.pretrain_run_id, "finetune": name_parent(vars(record))},
        datasets=((dataset, data["sha256"], job.test.split),),
        code=find_commit(),
        measures=True,
        model=record.weights_sha256,
    )


def list_metrics(record: dict[str, Any]) -> dict[str, float]:
    """Lists totals and IoU by class, or average precisions, by their names in MLflow."""
    split = record["split"]
    values = {"mIoU": "miou", "aAcc": "aacc", "mAcc": "macc", "fwIoU": "fwiou"}
    values |= {"mBoundaryIoU": "mean_boundary_iou"}
    values |= {"AP": "ap", "AP50": "ap50", "AP75": "ap75"}
    values |= {"AP_S": "ap_s", "AP_M": "ap_m", "AP_L": "ap_l"}
    found = {f"{split}/{name}": record.get(key) for name, key in values.items()}
    # "AP/<class>" beside "AP" would be a file and a folder of one name in a store of files
    for title, key in (("IoU", "iou"), ("AP by class", "ap_by_class")):
        by_class = zip(record["classes"], record.get(key, ()), strict=False)
        found |= {f"{split}/{title}/{name}": value for name, value in by_class}
    return {name: value for name, value in found.items() if value is not None}


def add_artifacts(run: TrackedRun, record: dict[str, Any], path: Path, panels: list[Path]) -> None:
    """Adds the JSON, the table of classes and the kept label maps to MLflow, the latter also as
    panels beside the image and its ground truth."""
    run.add_artifact(path)
    for key in {"per_image", "boxes"} & record.keys():
        run.add_artifact(path.parent / record[key]["file"])
    for file in record["predictions"].values():
        run.add_artifact(path.parent / file, "predictions")
    for file in panels:
        run.add_artifact(file, "panels")
    if record["classes"]:
        run.add_artifact(evaluation_files.write_class_table(path, record))
        run.set_tag(TABLES, json.dumps([{"path": evaluation_files.PER_CLASS, "type": "table"}]))
