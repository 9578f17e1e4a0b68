"""Metrics on disk, one JSON line a row: training writes here, tracking carries them onward.

So a tracking server can be slow, down or killed without any effect on the training.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

SECONDS_BETWEEN_BATCHES = 2.0


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


class Sink(Protocol):
    """Where rows go (a tracking run)."""

    def rows(self, rows: list[dict]) -> None: ...
    def last_step(self, metric: str) -> int: ...


@contextmanager
def follow(sink: Sink, spool: Spool) -> Iterator[None]:
    """Carries a spool's rows to the run while the body works, each row once, in order."""
    done = threading.Event()
    thread = threading.Thread(target=_carry, args=(sink, spool, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=60)


def _carry(sink: Sink, spool: Spool, done: threading.Event) -> None:
    sent: dict[str, int] = {}  # metric -> last step in the store
    while True:
        finished = done.wait(SECONDS_BETWEEN_BATCHES)
        new = []
        for row in spool.rows():
            for name in row["metrics"]:
                if name not in sent:
                    sent[name] = sink.last_step(name)
            fresh = {k: v for k, v in row["metrics"].items() if row["step"] > sent[k]}
            if fresh:
                new.append(row | {"metrics": fresh})
        sink.rows(new)
        for row in new:
            sent |= dict.fromkeys(row["metrics"], row["step"])
        if finished:
            return
