"""What pretrain and finetune share around the training itself: key, lock, tracking, signals."""

import argparse
import hashlib
import logging
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lemore.config import code as sources
from lemore.config.read import check_gpus, positive, read_yaml
from lemore.runtime.files import read_json, remove_temporaries, write_atomic, write_json
from lemore.runtime.lock import LockHeld, hold_lock
from lemore.runtime.process import Stopped, StopSignals, leave_with_owner
from lemore.runtime.ray.cluster import Resources
from lemore.runtime.ray.execute import Work, execute
from lemore.runtime.tracking import run as tracking
from lemore.runtime.tracking.metrics_file import Spool

log = logging.getLogger(__name__)
IDENTITY = "identity.json"  # in a folder of checkpoints: whose they are


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of a training job."""
    parser.add_argument("--config", type=Path, required=True, help="resolved configuration (YAML)")
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset (folder)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="folder of run.json, weights.pt")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder kept across reruns")
    parser.add_argument("--ray", choices=("local", "none"), default="none", help="where to run")
    parser.add_argument("--workers", type=positive, default=1, help="data-parallel workers")
    parser.add_argument("--gpus", type=float, default=0.0, help="GPUs of each worker")
    parser.add_argument("--log-model", action="store_true", help="put the model into MLflow too")


@dataclass(frozen=True)
class Training:
    """A training job as its stage describes it."""

    stage: str
    function: str  # "module:name", called with the payload where the training runs
    args: argparse.Namespace
    config: dict[str, Any]
    named_modules: tuple[str, ...]  # modules found by name: backbone, decode head
    name: str
    identity: dict[str, str]
    experiment: str
    threads: int
    parents: dict[str, str]
    inputs: dict[str, str]  # further inputs by name -> digest
    payload: dict[str, Any]
    note: str = ""


def run_training(training: Training) -> int:
    """Runs a training under lock and tracking and publishes run.json last. Exit code 0, or
    128 + signal when it was stopped (its state is saved)."""
    args, begin = training.args, time.monotonic()
    check_gpus(args.gpus, args.workers, "command line", "--gpus")
    dataset = read_json(args.data / "digest.json")
    code = sources.code_version(training.stage, training.named_modules)
    key = _key(code, training, dataset["sha256"])
    folder = args.checkpoints / key[:16]
    folder.mkdir(parents=True, exist_ok=True)
    stop = StopSignals()
    leave_with_owner()
    with hold_lock(folder):
        (folder / "stop").unlink(missing_ok=True)
        write_json(folder / IDENTITY, training.identity)
        spool = Spool(folder / "metrics.jsonl")
        stage = _tracking_stage(training, key, dataset)
        try:
            with tracking.track(stage, spool) as run:
                result = _execute(training, folder, stop, run)
                run.tag("weights_sha256", result["weights_sha256"])
        except (KeyboardInterrupt, SystemExit):
            log.warning("stopped; the same command resumes from the last checkpoint")
            return 128 + (stop() or signal.SIGINT)
        publish(folder, args.output, result | _record(training, key, code, run.run_id, begin))
        _drop_superseded(folder)
        shutil.rmtree(folder)
    return 0


def _drop_superseded(folder: Path) -> None:
    """Removes what is left of unfinished trainings with this one's name: of other code, recipe or
    data, since those with the same have the same folder."""
    identity = read_json(folder / IDENTITY)
    for path in folder.parent.glob(f"*/{IDENTITY}"):
        if path.parent != folder and read_json(path) == identity:
            with suppress(LockHeld), hold_lock(path.parent):
                shutil.rmtree(path.parent)


def _execute(
    training: Training, folder: Path, stop: StopSignals, run: tracking.Handle
) -> dict[str, Any]:
    args = training.args
    resources = Resources(args.ray, args.workers, training.threads, args.gpus)
    payload = training.payload | {
        "config": training.config,
        "data": str(args.data.absolute()),
        "seed": args.seed,
        "folder": str(folder.absolute()),
        "rank": 0,
        "world_size": 1,
        "gpus": args.gpus,
        "model_run_id": run.run_id if args.log_model else "",
    }
    if args.ray == "none":
        payload["stop"] = stop
    try:
        return execute(Work(training.function, payload, folder.absolute()), resources, stop)
    except Stopped as stopped:
        log.warning("%s", stopped)
        raise SystemExit(143) from None


def _key(code: str, training: Training, dataset: str) -> str:
    """Hash of all that decides the weights. Checkpoints of another key are never continued.

    On CPUs a training repeats to the bit, and only with as many workers, so that counts too.
    """
    workers = [] if training.args.gpus else [f"workers {training.args.workers}"]
    parts = [code, dataset, str(training.args.seed), training.args.config.read_text()]
    parts += [f"{name} {digest}" for name, digest in sorted(training.inputs.items())]
    return hashlib.sha256("\n".join(parts + workers).encode()).hexdigest()


def _tracking_stage(training: Training, key: str, dataset: dict[str, Any]) -> tracking.Stage:
    return tracking.Stage(
        experiment=training.experiment,
        name=training.name,
        identity=training.identity,
        key=key,
        params={"seed": training.args.seed, **training.config},
        note=training.note,
        parents=training.parents,
        datasets=((dataset["dataset"], dataset["sha256"], "training"),),
        code=git_version(),
    )


def _record(training: Training, key: str, code: str, run_id: str, begin: float) -> dict[str, Any]:
    return {
        "stage": training.stage,
        **training.identity,
        "seed": training.args.seed,
        "key": key,
        "code": code,
        "git": git_version(),
        "command": command(),
        "mlflow_run_id": run_id,
        "parents": training.parents,
        "workers": training.args.workers,
        "seconds": round(time.monotonic() - begin, 1),
    }


def publish(folder: Path, output: Path, record: dict[str, Any]) -> None:
    """Puts the weights into place, then writes run.json, which says that they are whole.

    By copies: the output may lie on another file system, and after a kill the same command needs
    what is in the folder.
    """
    remove_temporaries(output)  # of a publishing that was killed
    for name in ("weights.pt", "metrics.jsonl"):
        write_atomic(output / name, (folder / name).read_bytes())
    write_json(output / "run.json", record)


def git_version() -> str:
    """Commit of the checkout, with -dirty if it was edited; "" outside a checkout."""
    root = Path(__file__).parents[2]
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    return found.stdout.strip()


def command() -> str:
    """The command line of this job, to be copied from a result."""
    return shlex.join(["lemore", *sys.argv[1:]])


def loaded_modules(task: str) -> list[str]:
    """The lemore modules that this process has loaded, less the plumbing."""
    return sources.loaded(task, sys.modules)


def load_slice(path: Path, key: str) -> dict[str, Any]:
    """A resolved configuration as the Snakefile writes it; `key`: what this stage's must have."""
    values = read_yaml(path)
    if key not in values:
        raise ValueError(
            f"{path}: no '{key}' in it; expected results/<run>/config/... of this command's stage"
        )
    return values
