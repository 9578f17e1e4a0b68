"""Searches learning rate and schedule of a fine-tuning, judged by images that no table reports."""

import logging
import math
import shutil
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lemore.config.code import code_version
from lemore.config.jobs import FinetuneJob, read_job
from lemore.config.read import check_gpus, dump
from lemore.config.recipe import Train
from lemore.runtime.files import key_of, read_json, write_atomic, write_json
from lemore.runtime.lock import hold_lock
from lemore.runtime.process import leave_with_owner
from lemore.runtime.provenance import find_commit, quote_command
from lemore.runtime.ray.cluster import Resources
from lemore.runtime.ray.tune import Space, try_points
from lemore.runtime.tracking.pending_run import RunDescription
from lemore.runtime.tracking.tracked_run import track
from lemore.runtime.worker import Worker
from lemore.stages.check import check_training
from lemore.stages.finetune import find_initial_weights, find_teacher, list_named_modules
from lemore.stages.training import read_data

log = logging.getLogger(__name__)
TIMES = 8.0  # most that the learning rate differs from the recipe's, up or down
SCHEDULES = ("mmcv0", "mmseg1")
POWERS = (0.9, 1.0, 2.0)
CONFIRMATIONS = 2  # further seeds of the best point and of the recipe


@dataclass(frozen=True)
class SearchOptions:
    """Options of the command. config: the job's YAML. test_split: the split that tables report.
    trials: points tried, the recipe included. share: of the recipe's iterations."""

    config: Path
    data: Path
    pretrained: Path | None
    test_split: str
    trials: int
    share: float
    seed: int
    gpus: float
    output: Path


def search(options: SearchOptions) -> dict[str, Any]:
    """Runs the trials; writes the verdict (JSON) and, beside it, the recipe's new values (YAML).
    Returns the verdict."""
    check_gpus(options.gpus, 1, "command line", "--gpus")
    leave_with_owner()
    job = read_job(FinetuneJob, options.config)
    if job.model.task != "segmentation":
        raise ValueError(
            f"--config: {job.model_name} detects objects, but a search judges by mIoU; take one "
            "that segments"
        )
    read_data(job, options.data)  # refuses another dataset before the work
    check_training(replace(job.train, validate_every=0), options.data)
    folder = (options.output.parent / f"{options.output.stem}.trials").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with hold_lock(folder, 0):
        record = _run_trials(options, job, folder)
        _track(record)
        write_atomic(options.output.with_suffix(".yaml"), _write_recipe(record))
        write_json(options.output, record)
        shutil.rmtree(folder)
    return record


def _run_trials(options: SearchOptions, job: FinetuneJob, folder: Path) -> dict[str, Any]:
    init, _, inputs = find_initial_weights(job, options.pretrained)
    teacher, _, digests = find_teacher(job, options.data, str(options.config))
    inputs |= digests
    held_out = _holds_out(options)
    shorter = replace(job, train=shorten(job.train, options.share))
    worker = Worker(
        data=options.data.absolute(),
        folder=folder / make_state_key(options, job, inputs),
        seed=options.seed,
        gpus=options.gpus,
        init=init,
        init_sha256=inputs.get("init", ""),
        teacher=teacher,
        teacher_sha256=inputs.get("teacher", ""),
        held_out=held_out,
    )
    recipe = job.train
    own = {"lr": recipe.lr, "schedule": recipe.schedule, "poly_power": recipe.poly_power}
    space = Space(
        {"lr": (recipe.lr / TIMES, recipe.lr * TIMES)},
        {"schedule": SCHEDULES, "poly_power": POWERS, "seed": (options.seed,)},
    )
    place = ("lemore.stages.workers.trial:run_trial", shorter, worker, space)
    cpus = recipe.count_computing(options.gpus)
    resources = Resources("local", 1, cpus, options.gpus, recipe.loader_workers)
    first = [own | {"seed": options.seed}]
    tried = try_points(*place, first, options.trials, options.seed, resources, folder)
    best = max(tried, key=lambda t: -1.0 if t[1]["miou"] is None else t[1]["miou"])[0]
    seeds = range(options.seed + 1, options.seed + 1 + CONFIRMATIONS)
    compared = [own] if best.items() >= own.items() else [own, best]
    points = [point | {"seed": seed} for seed in seeds for point in compared]
    again = try_points(*place, points, len(points), options.seed, resources, folder)
    return {
        "stage": "search",
        "run": job.run,
        "dataset": job.dataset,
        "model": job.model_name,
        "judged_by": "a tenth of the training images" if held_out else "split val",
        "iterations": shorter.train.iterations,
        "inputs": {"data": read_data(job, options.data)["sha256"], **inputs},
        "command": quote_command(),
        "code": find_commit(),
        "trials": [point | result for point, result in tried],
        **judge(own, best, [*tried, *again]),
    }


def make_state_key(options: SearchOptions, job: FinetuneJob, inputs: dict[str, str]) -> str:
    """Returns a hash of all that trials depend on beside their point; resuming requires it."""
    code = code_version("search", list_named_modules(job))
    data = read_json(options.data / "digest.json")["sha256"]
    return key_of(code, data, options.config.read_text("utf-8"), inputs, _holds_out(options))[:16]


def _holds_out(options: SearchOptions) -> bool:
    """Returns whether images must be held out because tables report the split val."""
    splits = read_json(options.data / "digest.json")["splits"]
    return options.test_split == "val" or "val" not in splits


def shorten(recipe: Train, share: float) -> Train:
    """Shortens the recipe to a share of its iterations, without validation: its last weights are
    judged."""
    return replace(
        recipe,
        iterations=max(1, round(recipe.iterations * share)),
        warmup_iterations=math.ceil(recipe.warmup_iterations * share),
        checkpoint_every=max(1, math.ceil(recipe.checkpoint_every * share)),
        validate_every=0,
        keep="last",
        patience=0,
    )


def judge(
    own: dict[str, Any], best: dict[str, Any], results: list[tuple[dict[str, Any], dict[str, Any]]]
) -> dict[str, Any]:
    """Compares means over the same seeds of the recipe and the best point; makes the verdict."""
    best = {name: value for name, value in best.items() if name != "seed"}

    def values(settings: dict[str, Any]) -> list[float]:
        same = [r["miou"] for p, r in results if settings.items() <= p.items()]
        return [0.0 if value is None else value for value in same]

    a, b = values(own), values(best)
    gain = statistics.fmean(b) - statistics.fmean(a)
    spread = math.sqrt(statistics.variance(a) + statistics.variance(b)) if len(a) > 1 else math.inf
    better = best != own and gain > spread
    numbers = f"{100 * statistics.fmean(a):.2f} % mIoU with the recipe"
    if best != own:
        numbers += f", {100 * statistics.fmean(b):.2f} % with {best}"
    text = "recommended" if better else "no change recommended: seeds differ by as much"
    if best == own:
        text = "no change recommended: the recipe was the best"
    return {
        "recipe": own | {"miou": a},
        "best": best | {"miou": b},
        "spread": spread if math.isfinite(spread) else None,
        "recommended": best if better else None,
        "text": f"{numbers}; {text}",
    }


def _write_recipe(record: dict[str, Any]) -> str:
    """Writes the values to put into the dataset's recipe."""
    settings = record["recommended"]
    change = {"overrides": {record["model"]: {"train": settings}}} if settings else {}
    head = f"# {record['text']}\n# over {record['iterations']} iterations, {record['judged_by']}\n"
    return head + (dump(change) if change else "{}\n")


def _track(record: dict[str, Any]) -> None:
    """Records a run for each trial, to be compared by parameters."""
    for number, trial in enumerate(record["trials"]):
        identity = {name: record[name] for name in ("stage", "run", "dataset", "model")}
        description = RunDescription(
            experiment=f"{record['run']}/{record['dataset']}",
            name=f"search {record['model']} on {record['dataset']}, trial {number}",
            identity=identity | {"trial": str(number)},
            key=key_of(record["command"], record["code"], trial),
            params={"search": {k: v for k, v in trial.items() if k not in ("miou", "seconds")}},
            note=record["text"],
            code=record["code"],
        )
        with track(description) as run:
            if trial["miou"] is not None:
                metrics = {"search/mIoU": trial["miou"], "search/seconds": trial["seconds"]}
                run.record_metrics(metrics)
