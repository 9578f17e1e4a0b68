"""A log of the samples that were prepared, from which an interrupted prepare resumes."""

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from lemore.data.prepare.samples import PreparedSample
from lemore.data.store import PackWriter

PERIOD = 5.0  # most seconds of work that a kill may lose
BULK = ("image", "label")  # fields of a sample that lie in the packs


class Journal:
    """A `PackWriter` with a log of its samples, faulty ones included: <split>.journal.

    A line is written after its sample is on disk, so that every line is true. `done`:
    number of samples that an earlier prepare has left; `read_done` must come before `add`.
    """

    def __init__(self, folder: Path, split: str, task: str):
        self.path = folder / f"{split}.journal"
        self.done, size, ends = _find_end(self.path)
        self.writer = PackWriter(folder, split, task, ends)
        self.path.touch()
        os.truncate(self.path, size)
        self.waiting: list[str] = []
        self.written = time.monotonic()

    def read_done(self) -> Iterator[PreparedSample]:
        """Reads the samples done earlier, without the fields that lie in the packs."""
        with open(self.path) as file:
            for entry in map(json.loads, file):
                if entry["record"] is not None:
                    self.writer.records.extend(entry["record"])
                facts = entry["sample"]
                facts["size"] = tuple(facts["size"])
                for name in ("pixels", "raw"):  # JSON has made their keys text
                    facts[name] = {int(value): number for value, number in facts[name].items()}
                yield PreparedSample(**facts)

    def add(self, sample: PreparedSample) -> PreparedSample:
        """Stores a sound sample, and notes a sound or faulty one. Returns it."""
        record = None
        if sample.problem is None:
            record = self.writer.add(
                sample.name, sample.size, sample.image, sample.coding, sample.label
            )
        facts = {k: v for k, v in dataclasses.asdict(sample).items() if k not in BULK}
        entry = {"sample": facts, "record": record, "ends": self.writer.ends}
        self.waiting.append(json.dumps(entry) + "\n")
        if time.monotonic() - self.written > PERIOD:
            self._write()
        return sample

    def close(self) -> None:
        """Completes the split. The journal stays until its dataset is whole."""
        self._write()
        self.writer.close()

    def _write(self) -> None:
        self.writer.flush()
        with open(self.path, "a") as file:
            file.writelines(self.waiting)
            file.flush()
            os.fsync(file.fileno())
        self.waiting.clear()
        self.written = time.monotonic()


def _find_end(path: Path) -> tuple[int, int, dict[str, int] | None]:
    """Returns (lines, their bytes, ends of the packs at the last one), without a cut last line."""
    count, size, last = 0, 0, b""
    if path.exists():
        with open(path, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    count, size, last = count + 1, size + len(line), line
    return count, size, json.loads(last)["ends"] if last else None
