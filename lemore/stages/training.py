"""The envelope of a pretraining or fine-tuning: key, lock, tracking, signals."""

import logging
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lemore.config.code import LAYOUT, code_version
from lemore.config.jobs import FinetuneJob, PretrainJob
from lemore.config.read import check_gpus, plain
from lemore.config.recipe import Options
from lemore.runtime.files import key_of, read_json, remove_temporaries, write_atomic, write_json
from lemore.runtime.lock import LockHeld, hold_lock
from lemore.runtime.process import Stopped, StopSignals, leave_with_owner
from lemore.runtime.provenance import find_commit, list_versions, quote_command
from lemore.runtime.ray.cluster import Resources
from lemore.runtime.ray.execute import Work, execute
from lemore.runtime.tracking.metrics_file import MetricsFile
from lemore.runtime.tracking.pending_run import RunDescription
from lemore.runtime.tracking.system_metrics import choose_interval
from lemore.runtime.tracking.tracked_run import track
from lemore.runtime.worker import Worker

log = logging.getLogger(__name__)
IDENTITY = "identity.json"  # names the training in a folder of checkpoints


@dataclass(frozen=True)
class Placement:
    """The places of a training and its files: the options of its command.

    config: the job's YAML, whose text is part of the training's key. output: folder of run.json
    and weights.pt. checkpoints: folder of the state, kept across reruns. gpus: of each worker.
    """

    config: Path
    data: Path
    output: Path
    checkpoints: Path
    seed: int
    ray: Literal["local", "none"]
    workers: int
    gpus: float
    log_model: bool


@dataclass(frozen=True)
class Training:
    """A training as its stage describes it.

    function: "module:name", called with the job and the worker where the training runs.
    named_modules: code that is found by name. inputs: digests of further inputs by name. worker:
    what the stage adds to it.
    """

    stage: str
    job: PretrainJob | FinetuneJob
    function: str
    named_modules: tuple[str, ...]
    trained: dict[str, str]  # {"model": ...} or {"backbone": ...}
    worker: Worker
    parents: dict[str, str]
    inputs: dict[str, str]
    note: str = ""

    @property
    def recipe(self) -> Options:
        return self.job.train if isinstance(self.job, FinetuneJob) else self.job.recipe

    @property
    def identity(self) -> dict[str, str]:
        place = {"stage": self.stage, "run": self.job.run, "dataset": self.job.dataset}
        return place | self.trained | {"seed": str(self.worker.seed)}


def make_worker(placement: Placement) -> Worker:
    """Makes the worker of a training; its folder is known with its key."""
    return Worker(
        data=placement.data.absolute(),
        folder=Path(),
        seed=placement.seed,
        gpus=placement.gpus,
        sample_every=choose_interval(),
    )


def run_training(training: Training, placement: Placement) -> int:
    """Runs a training under lock and tracking and publishes run.json last.

    Returns 0, or 128 + signal when it was stopped (its state is saved).
    """
    check_gpus(placement.gpus, placement.workers, "command line", "--gpus")
    dataset = read_data(training.job, placement.data)
    code = code_version(training.stage, training.named_modules)
    key = make_key(code, training, placement, dataset["sha256"])
    folder = (placement.checkpoints / key[:16]).absolute()
    identity = training.identity | {"layout": LAYOUT}
    if not folder.exists():
        _warn_of_superseded(folder, identity)
    folder.mkdir(parents=True, exist_ok=True)
    stop = StopSignals()
    leave_with_owner()
    with hold_lock(folder):
        (folder / "stop").unlink(missing_ok=True)
        write_json(folder / IDENTITY, identity)
        description = _describe_run(training, key, dataset)
        try:
            with track(description, MetricsFile(folder / "metrics.jsonl")) as run:
                worker = replace(
                    training.worker,
                    folder=folder,
                    model_run_id=run.run_id if placement.log_model else "",
                )
                result = _execute(training, worker, placement, stop)
                step = result["chosen"]["iteration"] if "chosen" in result else result["iterations"]
                file = (placement.output / "weights.pt").absolute()
                run.set_model(result["weights_sha256"], step, file)
                for name in {"start", "teacher", "chosen"} & result.keys():
                    run.set_tag(name, result[name]["text"])
        except (KeyboardInterrupt, SystemExit):
            log.warning("stopped; the same command resumes from the last checkpoint")
            return 128 + (stop() or signal.SIGINT)
        record = _describe_origin(training, placement, dataset["sha256"])
        record |= {"key": key, "code": code, "mlflow_run_id": run.run_id}
        publish(folder, placement.output, result | record)
        _drop_superseded(folder)
        shutil.rmtree(folder)
    return 0


def _describe_origin(training: Training, placement: Placement, dataset: str) -> dict[str, Any]:
    """Returns what run.json says of a training's inputs and of the machine's software."""
    return {
        "stage": training.stage,
        **training.identity,
        "seed": placement.seed,
        "git": find_commit(),
        "versions": list_versions(),
        "command": quote_command(),
        "parents": training.parents,
        "inputs": {"data": dataset, **training.inputs},
        "workers": placement.workers,
    }


def read_data(job: PretrainJob | FinetuneJob, folder: Path) -> dict[str, Any]:
    """Reads the digest of a prepared dataset; ValueError if it is not the one of the job."""
    digest = read_json(folder / "digest.json")
    found, wanted = (digest["dataset"], digest["num_classes"]), (job.dataset, job.num_classes)
    if found != wanted:
        raise ValueError(
            f"--data: {folder} holds {found[0]} with {found[1]} classes, the configuration is for "
            f"{wanted[0]} with {wanted[1]}"
        )
    return digest


def make_key(code: str, training: Training, placement: Placement, dataset: str) -> str:
    """Returns a hash of all that decides the weights. Checkpoints of another key are not resumed.

    It contains the text of the job's file, so that configuration keys newer than the file change
    nothing. On CPUs it contains the number of workers, since a training repeats to the bit with
    that number only.
    """
    workers = 0 if placement.gpus else placement.workers
    job = placement.config.read_text("utf-8")
    return key_of(code, dataset, placement.seed, job, training.inputs, workers)


def _warn_of_superseded(folder: Path, identity: dict[str, Any]) -> None:
    for path in _list_superseded(folder, identity):
        log.warning(
            "%s: unfinished, with other code, recipe, data or initial weights; it is not "
            "continued, the training starts anew",
            path,
        )


def _drop_superseded(folder: Path) -> None:
    """Removes unfinished trainings of this name with other code, recipe or data: those with the
    same have the same folder.

    One that an earlier layout of the code has left is kept and named, since that code could
    finish it.
    """
    identity = read_json(folder / IDENTITY)
    for path in _list_superseded(folder, identity):
        if read_json(path / IDENTITY) != identity:
            log.warning(
                "%s: unfinished, of an earlier layout of the code; it is kept, remove it if you "
                "do not want to finish it with that code",
                path,
            )
            continue
        with suppress(LockHeld), hold_lock(path):
            shutil.rmtree(path)


def _list_superseded(folder: Path, identity: dict[str, Any]) -> list[Path]:
    """Lists the other folders of checkpoints whose training has the same name."""
    others = (path for path in folder.parent.glob(f"*/{IDENTITY}") if path.parent != folder)
    return [path.parent for path in others if read_json(path).items() <= identity.items()]


def _execute(
    training: Training, worker: Worker, placement: Placement, stop: StopSignals
) -> dict[str, Any]:
    recipe, gpus = training.recipe, placement.gpus
    cpus, loaders = recipe.count_computing(gpus), recipe.loader_workers
    resources = Resources(placement.ray, placement.workers, cpus, gpus, loaders)
    if placement.ray == "none":
        worker = replace(worker, stop=stop)
    try:
        return execute(Work(training.function, training.job, worker), resources, stop)
    except Stopped as stopped:
        log.warning("%s", stopped)
        raise SystemExit(143) from None


def _describe_run(training: Training, key: str, dataset: dict[str, Any]) -> RunDescription:
    names = " on ".join([*training.trained.values(), training.job.dataset])
    return RunDescription(
        experiment=f"{training.job.run}/{training.job.dataset}",
        name=f"{training.stage} {names}, seed {training.worker.seed}",
        identity=training.identity,
        key=key,
        params={"seed": training.worker.seed, **plain(training.job)},
        note=training.note,
        parents=training.parents,
        datasets=((dataset["dataset"], dataset["sha256"], "training"),),
        code=find_commit(),
    )


def publish(folder: Path, output: Path, record: dict[str, Any]) -> None:
    """Puts the weights into place, then writes run.json, which shows that they are complete.

    Files are copied: the output may lie on another file system, and after a kill the same command
    needs the folder's files.
    """
    remove_temporaries(output)  # of an earlier publishing that was killed
    for name in ("weights.pt", "metrics.jsonl"):
        write_atomic(output / name, (folder / name).read_bytes())
    write_json(output / "run.json", record)
