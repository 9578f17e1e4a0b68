"""What stages have to tell the tracking store, kept on disk until it has been told.

A parcel is one JSON file in the outbox. The process that fills it holds its lock, so that a parcel
whose lock is free is one left by a process that has ended, whatever ended it.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lemore.runtime.files import read_json, write_atomic
from lemore.runtime.lock import hold_lock
from lemore.runtime.process import Process
from lemore.runtime.tracking.metrics_file import Row


def store_uri() -> str:
    """MLFLOW_TRACKING_URI, or an SQLite file in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def outbox() -> Path:
    """LEMORE_OUTBOX, or a folder in the current one."""
    return Path(os.environ.get("LEMORE_OUTBOX") or "mlflow_outbox").absolute()


def without_password(uri: str) -> str:
    """The store's address as it may be written down."""
    return re.sub(r"//[^/@]*@", "//", uri)


def parent(record: dict[str, Any]) -> str:
    """How a stage names the run that made `record`, a run.json, among its parents."""
    return record["mlflow_run_id"] or f"weights:{record['weights_sha256']}"


@dataclass(frozen=True)
class Stage:
    """What a run is of. `identity` becomes tags and finds earlier runs of the same stage;
    `params` is the resolved configuration; `parents` maps a stage's name to its run id, or to
    "weights:<their digest>" where that is not known. A run of one that `measures` is taken up
    again for the same numbers only."""

    experiment: str
    name: str
    identity: dict[str, str]
    key: str
    params: dict[str, Any]
    note: str = ""
    parents: dict[str, str] = field(default_factory=dict)
    datasets: tuple[tuple[str, str, str], ...] = ()  # (name, digest, context)
    code: str = ""
    measures: bool = False  # its metrics come in one call at its end, anew each time

    def digest(self) -> str:
        """Of what finds the stage's run again."""
        text = json.dumps([self.experiment, sorted(self.identity.items()), self.key])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Parcel:
    """A stage, what became of it, and its metrics: `rows`, and those in the file `spool`."""

    stage: Stage
    store: str
    process: str
    begun: int  # milliseconds since 1970, like `ended`
    status: str = "RUNNING"
    ended: int = 0
    rows: list[Row] = field(default_factory=list)
    spool: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: list[tuple[str, str, str]] = field(default_factory=list)  # file, folder, sha256

    @classmethod
    def begin(cls, stage: Stage, spool: Path | None) -> "Parcel":
        path = str(spool.absolute()) if spool else ""
        return cls(
            stage,
            without_password(store_uri()),
            str(Process.find_own()),
            milliseconds(),
            spool=path,
        )

    @classmethod
    def read(cls, path: Path) -> "Parcel":
        values = read_json(path)
        stage = values["stage"]
        stage["datasets"] = tuple(map(tuple, stage["datasets"]))
        return cls(**values | {"stage": Stage(**stage)})

    def path(self) -> Path:
        process = Process.parse(self.process)
        assert process is not None
        return outbox() / f"{self.stage.digest()}-{process.pid}-{process.started}.json"

    def write(self) -> None:
        write_atomic(self.path(), json.dumps(asdict(self)))


def milliseconds() -> int:
    return int(time.time() * 1000)


def waiting() -> list[Path]:
    """Parcels in the outbox, oldest first; those of living processes too."""
    found = []
    for path in outbox().glob("*.json"):
        with suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found)]


@contextmanager
def claimed(path: Path, wait: float = 0.0) -> Iterator[None]:
    """The lock of a parcel; LockHeld if another process holds it. An empty outbox is removed."""
    with hold_lock(path, wait):
        yield
    with suppress(OSError):
        path.parent.rmdir()
