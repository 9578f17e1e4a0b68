"""Progress of long work: a bar with ETA on a terminal, a plain line now and then in a log."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import closing
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 15.0


def show_progress(
    iterable: Iterable[T], description: str, total: int | None = None, unit: str = "it"
) -> Iterator[T]:
    """Yields the items of `iterable` and shows on stderr how far it has come."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with closing(Meter(description, total, unit)) as meter:
        for item in iterable:
            yield item
            meter.step()


class Meter:
    """Counts finished steps and prints a line at most every `SECONDS_BETWEEN_LINES`."""

    def __init__(self, description: str, total: int | None, unit: str = "it", done: int = 0):
        self.description, self.total, self.unit = description, total, unit
        self.done = self.started_at = done
        self.start = self.printed = time.monotonic()
        self.bar = None
        if sys.stderr.isatty():
            self.bar = tqdm(desc=description, total=total, unit=unit, initial=done)

    def step(self, note: str = "") -> None:
        self.done += 1
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update()
            return
        now = time.monotonic()
        if self.done == self.total or now - self.printed >= SECONDS_BETWEEN_LINES:
            self.printed = now
            print(self.format_line(now, note), file=sys.stderr, flush=True)

    def format_line(self, now: float, note: str) -> str:
        rate = (self.done - self.started_at) / max(now - self.start, 1e-9)
        if self.total is None:
            count = f"{self.description}: {self.done} {self.unit}"
            return f"{count}, {rate:.3g} {self.unit}/s {note}".rstrip()
        left = (self.total - self.done) / max(rate, 1e-9)
        return (
            f"{self.description}: {self.done}/{self.total} {self.unit}, {rate:.3g} {self.unit}/s, "
            f"ETA {int(left // 60)}:{int(left % 60):02d} {note}"
        ).rstrip()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
