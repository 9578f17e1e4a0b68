"""Ends a training that makes no more steps and prints where it hangs."""

import faulthandler
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Literal

log = logging.getLogger(__name__)
Phase = Literal["step", "validation", "checkpoint"]
# The limit until a phase has been measured once: it may compile or validate a whole split.
FIRST_SECONDS: dict[str, float] = {"step": 3600, "validation": 4 * 3600, "checkpoint": 3600}
LEAST_SECONDS, TIMES_LONGEST = 300, 30
POLL_SECONDS = 1.0
FIXED = "LEMORE_STALL_SECONDS"  # overrules all other limits


class Watchdog:
    """A thread that ends the process (exit code 1) when a phase takes far longer than it ever did.

    Each phase may take 30 times as long as its longest so far, at least 5 minutes. Time in which
    the process was stopped does not count, nor do jumps of the clock. The stacks of all threads go
    to stderr and to <folder>/hang_rank<r>.txt.
    """

    def __init__(self, name: str, rank: int, folder: Path):
        self.name, self.rank, self.folder = name, rank, folder
        self.longest: dict[str, float] = {}
        self.current: str = "step"
        self.waited = 0.0
        self.begin = time.monotonic()
        self.done = threading.Event()

    def __enter__(self) -> "Watchdog":
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()

    def start_phase(self, phase: Phase) -> None:
        """Ends the current phase, which includes waiting for other workers, and starts another."""
        now = time.monotonic()
        self.longest[self.current] = max(self.longest.get(self.current, 0.0), now - self.begin)
        self.current, self.begin, self.waited = phase, now, 0.0

    @property
    def limit(self) -> float:
        """Seconds that the current phase may take."""
        if fixed := os.environ.get(FIXED):
            return float(fixed)
        if self.current not in self.longest:
            return FIRST_SECONDS[self.current]
        return max(LEAST_SECONDS, TIMES_LONGEST * self.longest[self.current])

    def _watch(self) -> None:
        while not self.done.wait(POLL_SECONDS):
            self.waited += POLL_SECONDS  # by its own count: a suspended process does not wait
            if self.waited > self.limit:
                self._end()

    def _end(self) -> None:
        path = self.folder / f"hang_rank{self.rank}.txt"
        message = (
            f"{self.name}: worker {self.rank} has spent {self.waited:.0f} s in one {self.current} "
            f"(limit {self.limit:.0f} s, longest so far {self.longest.get(self.current, 0):.1f} "
            "s); it hangs and is ended. The same command resumes from the last checkpoint. Stacks:"
        )
        with open(path, "w") as file:
            print(message, file=file, flush=True)
            faulthandler.dump_traceback(file)
        print(path.read_text(), file=sys.stderr, flush=True)
        os._exit(1)
