"""Processes on this host: is one alive, and leaving when the one that owns us is gone."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

OWNER = "LEMORE_OWNER"  # "<pid> <start time>" of the snakemake that runs the pipeline
POLL_SECONDS = 0.5


class Stopped(Exception):
    """A training was asked to stop and has saved its state."""


def start_time(pid: int) -> str:
    """Start time of a process in clock ticks since boot, "" if there is none (Linux)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state == "Z" else rest[18]


def alive(pid: int, started: str) -> bool:
    """Whether the process `pid` that started at `started` still runs (a pid may be used again)."""
    return bool(started) and start_time(pid) == started


def own_id() -> str:
    return f"{os.getpid()} {start_time(os.getpid())}"


def owner() -> tuple[int, str] | None:
    """The pipeline's process, if we were started by one."""
    text = os.environ.get(OWNER)
    if not text:
        return None
    pid, started = text.split()
    return int(pid), started


def lead_pipeline() -> None:
    """Prepares this process's environment for its jobs.

    They find `lemore` beside this Python, know whose pipeline they belong to, share one tracking
    store, and agree on a token for the local Ray cluster.
    """
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ.setdefault(OWNER, own_id())
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').absolute()}")
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", os.urandom(16).hex())


def leave_with_owner() -> None:
    """Sends this process SIGTERM when the pipeline that owns it dies (as by kill -9)."""
    known = owner()
    if known is None:
        return

    def watch() -> None:
        while alive(*known):
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="owner-watch").start()


class StopSignals:
    """Makes the first SIGTERM or SIGINT a request to stop; a second one interrupts at once.

    Calling it gives the number of the signal seen, or 0. `install` must be called again after
    ray.init, which puts handlers of its own in place.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.install()

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: Any) -> None:
        if self.seen:
            signal.default_int_handler(number, frame)
        self.seen = number

    def __call__(self) -> int:
        return self.seen
