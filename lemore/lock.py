"""One writer at a time on a file or folder, across processes; the lock dies with its holder."""

import fcntl
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lemore.machine import Process

POLL_SECONDS = 0.1
DYING_SECONDS = 10.0  # that the children of a killed holder may take to notice


@contextmanager
def locked(path: Path, wait: float) -> Iterator[None]:
    """Holds the lock beside `path`, for which it waits up to `wait` seconds (math.inf: forever).

    OSError naming the holder's process and host if it is still taken then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "a+") as file:
        _acquire(file, path, wait)
        file.seek(0)
        file.truncate()
        file.write(str(Process.own()))
        file.flush()
        yield


def _acquire(file: IO[str], path: Path, wait: float) -> None:
    if wait == math.inf:
        fcntl.flock(file, fcntl.LOCK_EX)
        return
    begin = time.monotonic()
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = Process.parse(file.read())
        dying = holder is not None and holder.here() and not holder.alive()
        if time.monotonic() - begin >= max(wait, DYING_SECONDS if dying else 0):
            who = f"process {holder.pid} on {holder.host}" if holder else "another process"
            raise OSError(f"{path}: {who} is writing it; wait or end it")
        time.sleep(POLL_SECONDS)
