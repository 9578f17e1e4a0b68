"""Runs that the tracking store does not yet know in full, each in a JSON file of one folder.

The process that tracks a run holds the lock of its file. A file whose lock is free was left by a
process that has ended, whatever ended it.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lemore.runtime.files import key_of, read_json, write_atomic
from lemore.runtime.lock import hold_lock
from lemore.runtime.process import Process
from lemore.runtime.tracking.metrics_file import MetricsFile, Row, read_clock


def find_store() -> str:
    """Returns the store's address: MLFLOW_TRACKING_URI, or an SQLite file in this folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def find_store_file(uri: str) -> Path | None:
    """Returns the SQLite file or the folder that is a store, None for a server."""
    scheme, found, path = uri.partition("://")
    if not found:
        return Path(uri)
    local = {"sqlite": path.removeprefix("/"), "file": path}
    return Path(local[scheme]) if scheme in local else None


def make_absolute(uri: str) -> str:
    """Returns a store's address that means the same in every folder."""
    path = find_store_file(uri)
    if path is None or path.is_absolute():
        return uri
    return f"{'sqlite:///' * uri.startswith('sqlite:')}{path.absolute()}"


def hide_password(text: str) -> str:
    """Removes the password that a store's address may hold, so that it may be written down."""
    return re.sub(r"//[^/@]*@", "//", text)


def name_parent(record: dict[str, Any]) -> str:
    """Returns how a stage names the run that made `record`, a run.json, among its parents."""
    return record["mlflow_run_id"] or f"weights:{record['weights_sha256']}"


@dataclass(frozen=True)
class RunDescription:
    """Describes a stage's run. `identity` becomes tags and finds earlier runs of the same stage;
    `params` is the resolved configuration; `parents` maps a stage's name to its run id, or to
    "weights:<their digest>" where that is not known. A run that `measures` is continued only for
    the same numbers; `model` is the digest of the weights that it measures."""

    experiment: str
    name: str
    identity: dict[str, str]
    key: str
    params: dict[str, Any]
    note: str = ""
    parents: dict[str, str] = field(default_factory=dict)
    datasets: tuple[tuple[str, str, str], ...] = ()  # (name, digest, context)
    code: str = ""
    measures: bool = False  # its metrics come in one call at its end
    model: str = ""

    @property
    def digest(self) -> str:
        """Hash that later runs of the same stage with the same inputs have too."""
        return key_of(self.experiment, self.identity, self.key)[:16]


@dataclass
class PendingRun:
    """A run, how it has ended, and its metrics: `rows`, and those in `metrics_file`. `model`: what
    `TrackedRun.set_model` got."""

    description: RunDescription
    store: str
    process: str
    begun: int  # milliseconds since 1970, like `ended`
    status: str = "RUNNING"
    ended: int = 0
    rows: list[Row] = field(default_factory=list)
    metrics_file: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    artifacts: list[tuple[str, str, str]] = field(default_factory=list)  # file, folder, sha256

    @classmethod
    def start(cls, description: RunDescription, metrics: MetricsFile | None) -> "PendingRun":
        store, process = hide_password(find_store()), str(Process.find_own())
        file = str(metrics.path.absolute()) if metrics else ""
        return cls(description, store, process, read_clock(), metrics_file=file)

    @classmethod
    def read(cls, path: Path) -> "PendingRun":
        values = read_json(path)
        description = values["description"]
        description["datasets"] = tuple(map(tuple, description["datasets"]))
        return cls(**values | {"description": RunDescription(**description)})

    @property
    def path(self) -> Path:
        pid, started, _ = self.process.split()
        return _find_folder() / f"{self.description.digest}-{pid}-{started}.json"

    def write(self) -> None:
        write_atomic(self.path, json.dumps(asdict(self)))


def _find_folder() -> Path:
    """Returns LEMORE_OUTBOX, or a folder in the current one."""
    return Path(os.environ.get("LEMORE_OUTBOX") or "mlflow_outbox").absolute()


def list_pending() -> list[Path]:
    """Returns the files of pending runs, oldest first; those of living processes too."""
    found = []
    for path in _find_folder().glob("*.json"):
        with suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found)]


@contextmanager
def hold_pending(path: Path, wait: float = 0) -> Iterator[None]:
    """Holds the lock of a pending run's file; LockHeld if another process holds it."""
    with hold_lock(path, wait):
        yield
    with suppress(OSError):  # it is not empty
        path.parent.rmdir()
