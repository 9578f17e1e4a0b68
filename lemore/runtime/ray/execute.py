"""Runs a training in this process, as a Ray task, or as Ray Train workers.

All three call the same function. A training that loses its worker or its node resumes from its last
checkpoint, any number of times, as long as it makes progress each time.
"""

import importlib
import logging
import re
import shutil
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lemore.runtime.files import read_json, write_atomic, write_json
from lemore.runtime.lock import hold_lock
from lemore.runtime.process import Process, Stopped, StopSignals
from lemore.runtime.ray import cluster, memory
from lemore.runtime.ray.cluster import Resources
from lemore.runtime.tracking.pending_run import find_store, find_store_file
from lemore.runtime.tracking.system_metrics import record_system_metrics
from lemore.runtime.worker import Worker

log = logging.getLogger(__name__)
MOST_LOSSES = 3  # in a row of workers, without a new checkpoint in between
GROUP_SECONDS = 5 * 3600  # for workers to wait for one another; the watchdog acts earlier
DYING_SECONDS = 60.0  # for a lost attempt's processes to leave the folder


class WorkerLost(Exception):
    """A worker or its node died; the training itself did not fail. Its argument is Ray's error."""


@dataclass(frozen=True)
class Work:
    """`function` ("module:name") is called with the job and the worker. A file `stop` in the
    worker's folder makes the training save and leave."""

    function: str
    job: Any
    worker: Worker


def execute(work: Work, resources: Resources, stop: StopSignals) -> dict[str, Any]:
    """Runs the function where `resources` say; returns its result, raises its own exception.

    Polls `stop()` while it waits. OSError when workers are lost again and again.
    """
    if resources.ray == "none":
        if resources.workers > 1:
            raise ValueError("ray: none runs one worker; set ray.workers to 1 or ray.mode to local")
        return _run_sampled(work)
    resources = cluster.connect(resources)
    stop.install()
    write_atomic(work.worker.folder / "driver", str(Process.find_own()))
    attempt = run_workers if resources.workers > 1 else run_task
    folder, losses = work.worker.folder, 0
    while True:
        before, kills = _find_newest(folder), memory.count_kernel_kills()
        try:
            return attempt(work, resources, stop)
        except WorkerLost as lost:
            text = _describe_loss(lost.args[0], folder, memory.count_kernel_kills() > kills)
            if stop():
                text = f"stopped, and its worker was lost before it saved ({text})"
                raise Stopped(text) from None
            losses = losses + 1 if _find_newest(folder) == before else 1
            if losses >= MOST_LOSSES:
                text += f"; {losses} times without a new checkpoint, giving up"
                raise OSError(text) from None
            log.warning("%s; the training goes on from its last checkpoint", text)


def _find_newest(folder: Path) -> str:
    return max((path.name for path in folder.glob("iteration_*.json")), default="")


def resolve(function: str) -> Callable[..., dict[str, Any]]:
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


def _run_work(work: Work) -> dict[str, Any]:
    """Runs the work in a worker, once the processes of a lost attempt are gone."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    _check_shared(work)
    with hold_lock(work.worker.folder / f"worker{work.worker.rank}", DYING_SECONDS):
        return _run_sampled(work)


def _run_sampled(work: Work) -> dict[str, Any]:
    """Runs the work while the first worker records its machine's use, if that is wanted."""
    worker = work.worker
    seconds = 0.0 if worker.rank else worker.sample_every
    with record_system_metrics(worker.folder / "metrics.jsonl", seconds):
        return run(work.function, work.job, worker)


def run(function: str, *arguments: Any) -> dict[str, Any]:
    """Calls `function` ("module:name"); OSError if memory does not suffice."""
    try:
        return resolve(function)(*arguments)
    except (RuntimeError, MemoryError) as error:
        if not memory.is_out_of_memory(error):
            raise
        raise OSError(f"{memory.REMEDY} ({_shorten(error)})") from error


def _check_shared(work: Work) -> None:
    """Raises ValueError if this node does not see the folders that the submitting node sees, or the
    tracking store to which the training writes."""
    own = Process.find_own()
    store = find_store_file(find_store()) if work.worker.model_run_id else None
    if store is not None and not store.exists():
        raise ValueError(
            f"node {own.host} does not see the tracking store {store}, to which `log_model: true` "
            "writes; set MLFLOW_TRACKING_URI to a server, or log_model: false"
        )
    for path in (work.worker.folder / "driver", work.worker.data / "digest.json"):
        if not path.exists():
            raise ValueError(
                f"node {own.host} does not see {path}; results and data_dir must lie on a file "
                "system that every node of the cluster has at the same path"
            )


def run_task(work: Work, resources: Resources, stop: StopSignals) -> dict[str, Any]:
    import ray
    from ray.exceptions import RayError, RayTaskError, RuntimeEnvSetupError

    remote = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=0)(_run_work)
    reference = remote.remote(work)
    while not ray.wait([reference], timeout=0.5)[0]:
        if stop():
            (work.worker.folder / "stop").touch()
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from None
    except RuntimeEnvSetupError as error:
        raise OSError(f"a node could not set up the code: {error}") from None
    except RayError as error:
        raise WorkerLost(error) from None


def _describe_loss(error: Exception, folder: Path, kernel_killed: bool) -> str:
    """Describes a loss. kernel_killed: whether this machine's kernel killed processes meanwhile."""
    hangs = ", ".join(str(path) for path in sorted(folder.glob("hang_rank*.txt")))
    why = ""
    if "running low on memory" in str(error):  # Ray's memory monitor has ended the worker
        why = f", which {memory.REMEDY}"
    elif kernel_killed:  # perhaps not those of this training
        why = f"; this machine's kernel ended processes meanwhile, so perhaps it {memory.REMEDY}"
    text = f"lost the worker{why} ({type(error).__name__}: {_shorten(error)})"
    return text + (f"; see {hangs}" * bool(hangs))


def _shorten(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def run_workers(work: Work, resources: Resources, stop: StopSignals) -> dict[str, Any]:
    """Runs the work in several workers. Every attempt has a new name for Ray, which must not resume
    one itself, as lemore's checkpoints do."""
    from ray.exceptions import RayError
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    storage = work.worker.folder / "ray"
    result = work.worker.folder / "result.json"
    bundle = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
    trainer = TorchTrainer(
        _run_worker,
        train_loop_config={"work": work, "result": str(result)},
        torch_config=TorchConfig(timeout_s=GROUP_SECONDS),
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus > 0,
            resources_per_worker=bundle,
        ),
        run_config=RunConfig(
            name=f"attempt-{uuid.uuid4().hex[:8]}",
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=0),
        ),
    )
    # In the main thread, Ray would catch SIGINT and abort the workers before they save.
    fitted = _start_thread(trainer.fit)
    while not wait([fitted], timeout=0.5).done:
        if stop():
            (work.worker.folder / "stop").touch()
    shutil.rmtree(storage, ignore_errors=True)
    try:
        fitted.result()
    except TrainingFailedError as error:
        raise find_cause(error) from None
    except RayError as error:  # of Ray Train's own process, which watches the workers
        raise WorkerLost(error) from None
    return read_json(result)


def _start_thread(function: Callable[[], Any]) -> Future[Any]:
    """Starts `function` in a daemon thread, for which no exit waits; returns its future."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="ray-train").start()
    return future


def find_cause(error: Exception) -> Exception:
    """Returns why workers failed: a worker's own error if there is one, else Ray's report of its
    end, else what the others noticed of it."""
    failures = getattr(error, "worker_failures", {})
    causes = [getattr(e, "_base_exc", e) for _, e in sorted(failures.items())]
    for cause in sorted(causes, key=lambda cause: not isinstance(cause, Stopped)):  # Stopped first
        if not _is_of_ray(cause) and not _is_of_connection(cause):
            return cause
    return WorkerLost(next((c for c in causes if _is_of_ray(c)), causes[0] if causes else error))


def _is_of_ray(error: Exception) -> bool:
    """Returns whether an error reports a worker's end (ray.exceptions or Ray Train's check)."""
    return type(error).__module__.partition(".")[0] == "ray"


def _is_of_connection(error: Exception) -> bool:
    """Returns whether an error reports that another worker no longer answers. NCCL's have types of
    torch's own, gloo's are plain RuntimeErrors."""
    kind = type(error).__name__
    texts = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe|timed out", re.I)
    plain = type(error) is RuntimeError and texts.search(str(error)) is not None
    return plain or isinstance(error, ConnectionError) or kind.startswith("Dist")


def _run_worker(config: dict[str, Any]) -> None:
    """Runs the work in one worker of several, with its rank."""
    import ray.train

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    work: Work = config["work"]
    result = _run_work(replace(work, worker=replace(work.worker, rank=rank, world_size=world)))
    if rank == 0:
        write_json(config["result"], result)
    ray.train.report({"iterations": result["iterations"]})
