"""Ray: where a training runs. The only file importing ray (and only when Ray is asked for).

One worker is a Ray task, several are a Ray Train TorchTrainer, `ray: none` is this process; all
three call the same function. One cluster serves every job of a pipeline: the one at RAY_ADDRESS,
or a local one that the first job starts and that leaves when the pipeline's process does.
"""

import fcntl
import importlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from lemore.files import read_json, write_json
from lemore.machine import cores
from lemore.training.process import OWNER, StopSignals, alive, own_id, owner

log = logging.getLogger(__name__)
OBJECT_STORE_BYTES = 100_000_000  # data never goes through it
START_SECONDS = 90
GRACE_SECONDS = 20  # that jobs have to save their state when the pipeline is gone
# Ray must not report anywhere, and must not drop repeated progress lines.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # as nice as the pipeline: at Ray's 15 anything else starves them
    "RAY_COLOR_PREFIX": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class Resources:
    """What one training gets. `cpus` and `gpus` are per worker; gpus may be a fraction."""

    ray: Literal["local", "none"]
    workers: int
    cpus: int
    gpus: float


def execute(
    function: str,
    payload: dict[str, Any],
    resources: Resources,
    stop: StopSignals,
    stop_file: Path,
) -> dict[str, Any]:
    """Calls `function` ("module:name") with `payload` where `resources` say; returns its result.

    `stop()` is polled while waiting; once true, `stop_file` is made, which the function heeds.
    The function's own exception is raised here.
    """
    if resources.ray == "none":
        if resources.workers > 1:
            raise ValueError("ray: none runs one worker; set ray.workers to 1 or ray.mode to local")
        return resolve(function)(payload)
    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    connect(resources)
    stop.install()
    if resources.workers > 1:
        return _torch_trainer(function, payload, resources, stop, stop_file)
    return _task(function, payload, resources, stop, stop_file)


def resolve(function: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


def _call(function: str, payload: dict[str, Any]) -> dict[str, Any]:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    return resolve(function)(payload)


def _task(
    function: str,
    payload: dict[str, Any],
    resources: Resources,
    stop: StopSignals,
    stop_file: Path,
) -> dict[str, Any]:
    import ray
    from ray.exceptions import RayTaskError

    remote = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=2)(_call)
    reference = remote.remote(function, payload)
    while not ray.wait([reference], timeout=0.5)[0]:
        if stop():
            stop_file.touch()
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from None


def _torch_trainer(
    function: str,
    payload: dict[str, Any],
    resources: Resources,
    stop: StopSignals,
    stop_file: Path,
) -> dict[str, Any]:
    """Several workers. Our own checkpoints resume, so every attempt has a name of its own."""
    import threading

    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    storage = stop_file.parent / "ray"
    result = stop_file.parent / "result.json"
    bundle = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
    trainer = TorchTrainer(
        _worker_loop,
        train_loop_config={"function": function, "payload": payload, "result": str(result)},
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus > 0,
            resources_per_worker=bundle,
        ),
        run_config=RunConfig(
            name=f"attempt-{int(time.time())}",
            storage_path=str(storage.absolute()),
            failure_config=FailureConfig(max_failures=2),
        ),
    )
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            if stop():
                stop_file.touch()

    threading.Thread(target=watch, daemon=True).start()
    try:
        trainer.fit()
    finally:
        done.set()
        shutil.rmtree(storage, ignore_errors=True)
    return read_json(result)


def _worker_loop(config: dict[str, Any]) -> None:
    """One worker of several: the same function, told its rank."""
    import ray.train

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    payload = config["payload"] | {"rank": rank, "world_size": world}
    result = _call(config["function"], payload)
    if rank == 0:
        write_json(config["result"], result)
    ray.train.report({"iterations": result["iterations"]})


def connect(resources: Resources) -> None:
    """Joins the cluster of this pipeline; ValueError if RAY_ADDRESS does not answer."""
    import ray

    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        probe(address)
        token = Path.home() / ".ray" / "auth_token"
        if token.exists():
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        ray.init(address=address, logging_level=logging.WARNING)
    elif owner() is not None:
        head = _ensure_head()
        _present.append(_hold_driver_lock())
        ray.init(address=head, logging_level=logging.WARNING)
    else:
        start_local(max(cores(), resources.cpus * resources.workers))


_present: list[IO] = []  # keeps this driver's lock until the process ends


def _hold_driver_lock() -> IO:
    """Shared lock that says to the head: a job is still there."""
    file = open(session_folder() / "drivers", "w")  # noqa: SIM115
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _wait_for_drivers() -> None:
    """Until no job holds its lock, at most `GRACE_SECONDS`."""
    end = time.monotonic() + GRACE_SECONDS
    with open(session_folder() / "drivers", "w") as file:
        while time.monotonic() < end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.2)


def start_local(cpus: int) -> str:
    """A cluster that lives as long as this process; returns its address."""
    import ray

    ray.init(
        address="local",
        num_cpus=cpus,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        logging_level=logging.WARNING,
    )
    return ray.get_runtime_context().gcs_address


def probe(address: str) -> None:
    """Ray waits for minutes at a dead address, so knock first."""
    if address in ("auto", "local"):
        raise ValueError(f"RAY_ADDRESS is '{address}', expected host:port of the cluster's head")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except (OSError, ValueError):
        raise ValueError(
            f"RAY_ADDRESS is '{address}', but nothing answers there; start the cluster or unset it"
        ) from None


def session_folder() -> Path:
    """Short folder (sockets need that) that belongs to the owning pipeline process."""
    known = owner()
    assert known is not None
    return Path("/tmp") / f"lemore-{os.getuid()}-{known[0]}-{known[1]}"


def _ensure_head() -> str:
    """Address of the pipeline's own cluster; the first to come starts it, under a lock."""
    folder = session_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    info = folder / "head.json"
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if info.exists() and alive(*_identity(info)):
            return read_json(info)["address"]
        info.unlink(missing_ok=True)
        with open(folder / "head.log", "ab") as output:
            head = subprocess.Popen(
                [sys.executable, "-m", "lemore.tasks._cluster"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return _wait_for(info, head, folder / "head.log")


def _wait_for(info: Path, head: subprocess.Popen, output: Path) -> str:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if info.exists():
            return read_json(info)["address"]
        if head.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(
        f"the local Ray cluster did not start; its log ends:\n{output.read_text()[-2000:]}"
    )


def _identity(info: Path) -> tuple[int, str]:
    pid, started = json.loads(info.read_text())["process"].split()
    return int(pid), started


def serve() -> None:
    """Body of the head process: holds the cluster until the owner is gone."""
    known = owner()
    assert known is not None, f"{OWNER} is not set"
    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    folder = session_folder()
    address = start_local(cores())
    write_json(folder / "head.json", {"address": address, "process": own_id()})
    while alive(*known):
        time.sleep(0.5)
    _wait_for_drivers()
    import ray

    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
