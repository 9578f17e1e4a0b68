"""Metrics on disk, one JSON line a row: training writes here, tracking carries them onward.

So a tracking server can be slow, down or killed without any effect on the training.
"""

import json
import os
import time
from pathlib import Path

from lemore.runtime.files import write_atomic

Row = dict  # {"step": int, "time": milliseconds, "metrics": {name: value}}


class Spool:
    """Rows of one training, in order of their steps."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def record(self, step: int, metrics: dict[str, float]) -> None:
        """Appends one row. `step` is the number of finished iterations."""
        with open(self.path, "a") as file:
            file.write(json.dumps(row(step, metrics)) + "\n")

    def rewind(self, step: int) -> None:
        """Drops the rows after `step`, which a resumed training is about to write again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    def rows(self) -> list[Row]:
        """All complete rows; a last line cut off by a kill is left out."""
        return Tail(self.path).new()


def row(step: int, metrics: dict[str, float]) -> Row:
    return {"step": step, "time": int(time.time() * 1000), "metrics": metrics}


class Tail:
    """Reads what has been added to a spool, without reading it all again."""

    def __init__(self, path: Path):
        self.path, self.inode, self.position = path, 0, 0

    def new(self) -> list[Row]:
        """Complete rows since the last call; all of them when the spool was rewound."""
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
