"""The Ray cluster of a pipeline.

One cluster serves every job of a pipeline: the one at RAY_ADDRESS, or a local one that the first
job starts (as `python -m lemore.runtime.ray.cluster`) and that ends with the pipeline's process.
"""

import fcntl
import logging
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import lemore
from lemore.runtime.files import read_json, write_json
from lemore.runtime.lock import hold_lock
from lemore.runtime.process import OWNER, Process, count_cores, find_owner, make_cluster_token
from lemore.runtime.slots import count_slots, share_cores
from lemore.runtime.tracking.pending_run import find_store, make_absolute
from lemore.runtime.watchdog import FIXED

log = logging.getLogger(__name__)
OBJECT_STORE_BYTES = 100_000_000  # no data goes through it
START_SECONDS = 90
JOINING = 120.0  # seconds in which the nodes of an allocation join its cluster
GRACE_SECONDS = 20  # for jobs to save their state when the pipeline is gone
# Ray must not report anywhere, and must not drop repeated progress lines.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # the pipeline's own: at Ray's 15 other programs starve them
    "RAY_COLOR_PREFIX": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class Resources:
    """Resources of one training. All but `workers` are per worker; gpus may be a fraction. loaders:
    cores beside `cpus` for processes that prepare batches, fewer where there are not so many."""

    ray: Literal["local", "none"]
    workers: int
    cpus: int
    gpus: float
    loaders: int = 0


def connect(resources: Resources) -> Resources:
    """Joins this pipeline's cluster; ValueError if it does not answer or is too small.

    Returns the resources with the cores for loader processes, which its nodes have, in `cpus`.
    """
    address = os.environ.get("RAY_ADDRESS")
    join(max(count_cores(), resources.cpus * resources.workers))
    nodes = list_nodes()
    _check_room(resources, nodes, grows=bool(address))
    return _add_loaders(resources, nodes)


def join(cpus: int) -> None:
    """Joins this pipeline's cluster, or starts one with so many cores outside a pipeline."""
    _set_environment()
    import ray

    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _join(address)
    elif find_owner() is not None:
        head = _ensure_head()
        _hold_driver_lock()
        _init(head)
    else:
        start_local(cpus)


def list_nodes(least: int = 0, seconds: float = JOINING) -> list[dict[str, float]]:
    """Returns the resources of each node ("CPU", "GPU", ...), once `least` have joined or after so
    many seconds."""
    import ray

    end = time.monotonic() + seconds
    while True:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if len(nodes) >= least or time.monotonic() > end:
            return nodes
        time.sleep(0.5)


def _set_environment() -> None:
    """Sets the variables that Ray reads when it is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.update(make_cluster_token())
    elif Path(os.path.expanduser("~/.ray/auth_token")).exists():  # there may be no HOME
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _join(address: str) -> None:
    """Joins a cluster that others have started, and sends it the code with the job.

    Its workers write to this process's tracking store.
    """
    from ray.exceptions import AuthenticationError

    probe(address)
    code = {"py_modules": [str(Path(lemore.__file__).parent)], "excludes": ["**/__pycache__"]}
    try:
        _init(address, code, {"MLFLOW_TRACKING_URI": make_absolute(find_store())})
    except AuthenticationError:
        raise ValueError(
            f"RAY_ADDRESS is '{address}', and the cluster there wants a token; set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from None
    except RuntimeError as error:
        if "resolve node to connect to" not in str(error):
            raise
        raise ValueError(
            f"RAY_ADDRESS is '{address}', and this machine is no node of that cluster; run this "
            f"on one of its nodes, or make it one: ray start --address {address} --num-cpus 0"
        ) from None


def _init(
    address: str,
    code: dict[str, Any] | None = None,
    variables: dict[str, str] | None = None,
    **options: Any,
) -> None:
    """Starts or joins a cluster; its workers get `code`, `variables` and this process's watchdog
    limit."""
    import ray

    limit = {FIXED: os.environ[FIXED]} if FIXED in os.environ else {}
    env = (code or {}) | {"env_vars": (variables or {}) | limit}
    ray.init(address=address, logging_level=logging.WARNING, runtime_env=env, **options)


def _check_room(resources: Resources, nodes: list[dict[str, float]], grows: bool) -> None:
    """Raises ValueError if no node can ever take a worker and the cluster does not grow."""
    wanted = {"CPU": resources.cpus, "GPU": resources.gpus}
    for name, amount in wanted.items():
        most = max((node.get(name, 0) for node in nodes), default=0)
        total = sum(node.get(name, 0) for node in nodes)
        if amount <= most and amount * resources.workers <= total:
            continue
        text = (
            f"{resources.workers} worker(s) with {amount:g} {name} each are asked for; the cluster "
            f"has {total:g} {name} in all and {most:g} on its largest node"
        )
        if not grows:
            raise ValueError(f"{text}. Lower ray.workers, ray.gpus, or threads in the recipe")
        log.warning("%s; waiting for it to grow", text)


def _add_loaders(resources: Resources, nodes: list[dict[str, float]]) -> Resources:
    """Adds the cores of loader processes, but no more than leave every GPU its worker."""
    wanted, gpus = resources.cpus + resources.loaders, resources.gpus
    if gpus:
        nodes = [node for node in nodes if node.get("GPU", 0) >= gpus]
    rooms = []
    for node in nodes:
        slots = count_slots([node["GPU"]], gpus) if gpus else resources.workers
        rooms.append(share_cores(wanted, int(node.get("CPU", 0)), slots))
    most = (min if gpus else max)(rooms, default=0)
    return replace(resources, cpus=max(resources.cpus, most), loaders=0)


_driver_locks: list[IO] = []  # open until the process ends


def _hold_driver_lock() -> None:
    """Takes a shared lock, which shows the head that a job still runs."""
    file = open(find_session_folder() / "drivers", "w")  # noqa: SIM115
    fcntl.flock(file, fcntl.LOCK_SH)
    _driver_locks.append(file)


def _wait_for_drivers() -> None:
    """Waits until no job holds its lock, at most `GRACE_SECONDS`."""
    end = time.monotonic() + GRACE_SECONDS
    with open(find_session_folder() / "drivers", "w") as file:
        while time.monotonic() < end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.2)


def start_local(cpus: int) -> str:
    """Starts a cluster that lives as long as this process; returns its address."""
    import ray

    _init("local", num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False)
    return ray.get_runtime_context().gcs_address


def probe(address: str) -> None:
    """Raises ValueError if nothing answers at the address; Ray would wait for minutes."""
    if address in ("auto", "local"):
        raise ValueError(f"RAY_ADDRESS is '{address}', expected host:port of the cluster's head")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except (OSError, ValueError):
        raise ValueError(
            f"RAY_ADDRESS is '{address}', but nothing answers there; start the cluster or unset it"
        ) from None


def find_session_folder() -> Path:
    """Returns the folder of the owning pipeline process; its path is short, as sockets need it."""
    owner = find_owner()
    assert owner is not None, f"{OWNER} is not set"
    return Path("/tmp") / f"lemore-{os.getuid()}-{owner.pid}-{owner.started}"


def _ensure_head() -> str:
    """Returns the address of the pipeline's own cluster, which the first job starts."""
    folder = find_session_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    info, output = folder / "head.json", folder / "head.log"
    with hold_lock(info, math.inf):
        if info.exists():
            head = Process.parse(read_json(info)["process"])
            if head is not None and head.is_alive():
                return read_json(info)["address"]
            info.unlink()
        with open(output, "ab") as file:
            started = subprocess.Popen(
                [sys.executable, "-m", "lemore.runtime.ray.cluster"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while not info.exists():
            if started.poll() is not None or time.monotonic() > end:
                raise RuntimeError(
                    "the local Ray cluster did not start; its log ends:\n"
                    + output.read_text()[-2000:]
                )
            time.sleep(0.1)
        return read_json(info)["address"]


def main() -> None:
    """Holds the local cluster until its owner is gone and its jobs have saved their state.

    Then sends to the tracking store what killed jobs had recorded.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    owner, folder = find_owner(), find_session_folder()
    _set_environment()
    address = start_local(count_cores())
    write_json(folder / "head.json", {"address": address, "process": str(Process.find_own())})
    while owner is not None and owner.is_alive():
        time.sleep(0.5)
    _wait_for_drivers()
    import ray

    from lemore.runtime.tracking.tracked_run import send_pending

    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    send_pending()


if __name__ == "__main__":
    main()
