"""Metrics on disk, one JSON line a row: training writes here, tracking carries them onward.

So a tracking server can be slow, down or killed without any effect on the training.
"""

import json
import time
from pathlib import Path


class Spool:
    """Rows {"step", "time", "metrics"} of one training, in order of their steps."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def record(self, step: int, metrics: dict[str, float]) -> None:
        """Appends one row. `step` is the number of finished iterations."""
        row = {"step": step, "time": int(time.time() * 1000), "metrics": metrics}
        with open(self.path, "a") as file:
            file.write(json.dumps(row) + "\n")

    def rewind(self, step: int) -> None:
        """Drops the rows after `step`, which a resumed training is about to write again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in kept))

    def rows(self) -> list[dict]:
        """All complete rows; a last line cut off by a kill is left out."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line]
