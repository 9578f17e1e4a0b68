"""Metrics on disk, one JSON line a row: a training appends them, and tracking reads them.

Thus a tracking server can be slow, down or killed without any effect on the training.
"""

import json
import os
import time
from pathlib import Path

from lemore.runtime.files import write_atomic

SYSTEM = "system/"  # begins the names of the machine's metrics, as in MLflow
Row = dict  # {"step": int, "time": milliseconds, "metrics": {name: value}}


class MetricsFile:
    """Rows of one training, in the order of their steps."""

    def __init__(self, path: Path):
        self.path = path
        self.inode = self.position = 0  # of what `read_new` has read

    def append(self, step: int, metrics: dict[str, float]) -> None:
        """Appends one row. `step` is the number of finished iterations."""
        with open(self.path, "a") as file:
            file.write(json.dumps(make_row(step, metrics)) + "\n")

    def rewind(self, step: int) -> None:
        """Drops the rows after `step`, which a resumed training will write again.

        The machine's stay, since their steps count samples.
        """
        kept = [row for row in self.read() if row["step"] <= step or is_of_system(row)]
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    def read(self) -> list[Row]:
        """Returns all complete rows, without a last line that a kill has cut off."""
        return MetricsFile(self.path).read_new()

    def read_new(self) -> list[Row]:
        """Returns the complete rows since the last call; all of them after a `rewind`."""
        try:
            file = open(self.path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            return []
        with file:
            inode = os.fstat(file.fileno()).st_ino
            if inode != self.inode:
                self.inode, self.position = inode, 0
            file.seek(self.position)
            lines = file.read().split(b"\n")
        self.position += sum(len(line) + 1 for line in lines[:-1])
        return [json.loads(line) for line in lines[:-1] if line]


def is_of_system(row: Row) -> bool:
    return all(name.startswith(SYSTEM) for name in row["metrics"])


def make_row(step: int, metrics: dict[str, float]) -> Row:
    return {"step": step, "time": read_clock(), "metrics": metrics}


def read_clock() -> int:
    """Returns milliseconds since 1970, MLflow's unit of time."""
    return int(time.time() * 1000)
