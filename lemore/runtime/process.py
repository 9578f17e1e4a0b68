"""This machine and the pipeline's processes: which ones run, who started them, how they stop."""

import os
import platform
import shutil
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

OWNER = "LEMORE_OWNER"  # str(Process) of the snakemake that runs the pipeline
POLL_SECONDS = 0.5


class Stopped(Exception):
    """A training was asked to stop and has saved its state."""


def count_cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def read_processor_name() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().split("\n") if path.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def explain_no_compiler(on_gpu: bool) -> str:
    """Returns which compiler torch.compile lacks here, "" if none. For a CPU it compiles C++, for a
    GPU C. CC and CXX name others than the usual ones.
    """
    variable, usual = ("CC", ("gcc", "clang")) if on_gpu else ("CXX", ("g++",))
    names = (os.environ[variable],) if os.environ.get(variable) else usual
    if any(shutil.which(name.split()[0]) for name in names):
        return ""
    language = "C compiler on a GPU" if on_gpu else "C++ compiler on the CPU"
    return f"needs a {language}, and {' and '.join(names)} are not here; install {usual[0]}"


@dataclass(frozen=True)
class Process:
    """A process; its start time tells it from a later one with the same number."""

    pid: int
    started: str  # seconds since boot, which do not change when the clock is set
    host: str

    @classmethod
    def find_own(cls) -> "Process":
        return cls(os.getpid(), _find_start(os.getpid()), socket.gethostname())

    @classmethod
    def parse(cls, text: str) -> "Process | None":
        """Reads what str(process) has written; None if `text` is something else."""
        parts = text.split()
        return cls(int(parts[0]), parts[1], parts[2]) if len(parts) == 3 else None

    def __str__(self) -> str:
        return f"{self.pid} {self.started} {self.host}"

    def is_here(self) -> bool:
        """Returns whether it belongs to this host; `is_alive` is meaningless otherwise."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Returns whether it still runs; a zombie does not."""
        return bool(self.started) and _find_start(self.pid) == self.started


def _find_start(pid: int) -> str:
    """Returns when a process started, in seconds since boot; "" if it does not run."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return f"{process.create_time() - psutil.boot_time():.2f}"
    except psutil.NoSuchProcess:
        return ""


def find_owner() -> Process | None:
    """Returns the pipeline's process, None if no pipeline on this host has started this one.

    A job of a batch system inherits the name of a process on another host; it has no owner here.
    """
    owner = Process.parse(os.environ.get(OWNER, ""))
    return owner if owner and owner.is_here() else None


def lead_pipeline() -> None:
    """Prepares this process's environment for its jobs.

    They find `lemore` beside this Python, know whose pipeline they belong to, share one tracking
    store, and agree on a token for the local Ray cluster.
    """
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if find_owner() is None:
        os.environ[OWNER] = str(Process.find_own())
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').absolute()}")
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.update(make_cluster_token())


def make_cluster_token() -> dict[str, str]:
    """Returns the variables that all users of a local Ray cluster share: the token that is set,
    or a new one (Ray itself would write one to HOME)."""
    return {
        "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token"),
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN", os.urandom(16).hex()),
    }


def leave_with_owner() -> None:
    """Sends this process SIGTERM when the pipeline that owns it dies (as by kill -9)."""
    owner = find_owner()
    if owner is None:
        return

    def watch() -> None:
        while owner.is_alive():
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="owner-watch").start()


class StopSignals:
    """Makes SIGTERM or SIGINT a request to stop; SIGINT after that interrupts at once.

    Without `saves` there is no state to save, and the first signal ends the process at once.
    A second SIGTERM changes nothing: a job that stops with its pipeline gets another one from
    `leave_with_owner`. Calling it returns the number of the first signal seen, or 0. `install` must
    be called again after ray.init, which puts handlers of its own in place.
    """

    def __init__(self, saves: bool = True) -> None:
        self.seen, self.saves = 0, saves
        self.install()

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT and (self.seen or not self.saves):
            signal.default_int_handler(number, frame)
        if not self.saves:
            raise SystemExit(128 + number)
        self.seen = self.seen or number

    def __call__(self) -> int:
        return self.seen
