"""The Ray cluster of a pipeline.

One cluster serves every job of a pipeline: the one at RAY_ADDRESS, or a local one that the first
job starts and that leaves when the pipeline's process does.
"""

import fcntl
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import lemore
from lemore.runtime.files import read_json, write_json
from lemore.runtime.machine import Process, cores
from lemore.runtime.process import OWNER, cluster_token, owner
from lemore.runtime.watchdog import FIXED

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
CARRIED = (FIXED,)


@dataclass(frozen=True)
class Resources:
    """What one training gets. `cpus` and `gpus` are per worker; gpus may be a fraction."""

    ray: Literal["local", "none"]
    workers: int
    cpus: int
    gpus: float


def connect(resources: Resources) -> None:
    """Joins the cluster of this pipeline; ValueError if it is not there or can never do."""
    _set_environment()
    import ray

    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _join(address)
    elif owner() is not None:
        head = _ensure_head()
        _present.append(_hold_driver_lock())
        ray.init(address=head, logging_level=logging.WARNING, runtime_env=_told_to_workers())
    else:
        start_local(max(cores(), resources.cpus * resources.workers))
    _check_room(resources, grows=bool(address))


def _set_environment() -> None:
    """For Ray, which reads it when it is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.update(cluster_token())
    elif Path(os.path.expanduser("~/.ray/auth_token")).exists():  # there may be no HOME
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _join(address: str) -> None:
    """A cluster that others have started gets the code with the job."""
    import ray
    from ray.exceptions import AuthenticationError

    probe(address)
    code = {"py_modules": [str(Path(lemore.__file__).parent)], "excludes": ["**/__pycache__"]}
    try:
        ray.init(
            address=address, logging_level=logging.WARNING, runtime_env=code | _told_to_workers()
        )
    except AuthenticationError:
        raise ValueError(
            f"RAY_ADDRESS is '{address}', and the cluster there wants a token; set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from None


def _told_to_workers() -> dict[str, Any]:
    """Runtime environment of the workers: what of this process's environment they must know."""
    told = {name: os.environ[name] for name in CARRIED if name in os.environ}
    return {"env_vars": told} if told else {}


def _check_room(resources: Resources, grows: bool) -> None:
    """ValueError if no node can ever take a worker; a cluster of others may still grow."""
    import ray

    wanted = {"CPU": resources.cpus, "GPU": resources.gpus}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
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
        runtime_env=_told_to_workers(),
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
    return Path("/tmp") / f"lemore-{os.getuid()}-{known.pid}-{known.started}"


def _ensure_head() -> str:
    """Address of the pipeline's own cluster; the first to come starts it, under a lock."""
    folder = session_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    info = folder / "head.json"
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if info.exists() and _alive(info):
            return read_json(info)["address"]
        info.unlink(missing_ok=True)
        with open(folder / "head.log", "ab") as output:
            head = subprocess.Popen(
                [sys.executable, "-m", "lemore.runtime.ray.hold"],
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


def _alive(info: Path) -> bool:
    head = Process.parse(read_json(info)["process"])
    return head is not None and head.alive()


def serve() -> None:
    """Body of the head process: holds the cluster until the owner is gone."""
    known = owner()
    assert known is not None, f"{OWNER} is not set"
    _set_environment()
    folder = session_folder()
    address = start_local(cores())
    write_json(folder / "head.json", {"address": address, "process": str(Process.own())})
    while known.alive():
        time.sleep(0.5)
    _wait_for_drivers()
    import ray

    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
