"""Life and death of a pipeline's processes: signals, and leaving with the one that owns us."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from lemore.runtime.machine import Process

OWNER = "LEMORE_OWNER"  # str(Process) of the snakemake that runs the pipeline
POLL_SECONDS = 0.5


class Stopped(Exception):
    """A training was asked to stop and has saved its state."""


def owner() -> Process | None:
    """The pipeline's process, if one on this host has started us.

    A job of a batch system inherits the name of a process on another host: there it is its own.
    """
    known = Process.parse(os.environ.get(OWNER, ""))
    return known if known and known.here() else None


def lead_pipeline() -> None:
    """Prepares this process's environment for its jobs.

    They find `lemore` beside this Python, know whose pipeline they belong to, share one tracking
    store, and agree on a token for the local Ray cluster.
    """
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if owner() is None:
        os.environ[OWNER] = str(Process.own())
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').absolute()}")
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.update(cluster_token())


def cluster_token() -> dict[str, str]:
    """Environment of all that share a local Ray cluster: the token that is set, or a new one (Ray
    itself would write one to HOME)."""
    return {
        "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token"),
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN", os.urandom(16).hex()),
    }


def leave_with_owner() -> None:
    """Sends this process SIGTERM when the pipeline that owns it dies (as by kill -9)."""
    known = owner()
    if known is None:
        return

    def watch() -> None:
        while known.alive():
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
