"""One writer at a time on a file or folder, across processes; the lock dies with its holder."""

import fcntl
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lemore.runtime.machine import Process

POLL_SECONDS = 0.1
DYING_SECONDS = 10.0  # that the children of a killed holder may take to notice


class Held(OSError):
    """Somebody else holds the lock."""


@contextmanager
def locked(path: Path, wait: float) -> Iterator[None]:
    """Holds the lock beside `path`, for which it waits up to `wait` seconds (math.inf: forever).

    Held naming the holder's process and host if it is still taken then. The lock's file goes with
    the lock; one that a kill has left does no harm.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with _acquire(lock, path, wait) as file:
        file.seek(0)
        file.truncate()
        file.write(str(Process.own()))
        file.flush()
        try:
            yield
        finally:
            with suppress(OSError):  # its folder may be gone
                lock.unlink()
            fcntl.flock(file, fcntl.LOCK_UN)  # forked children may hold the file open


def _acquire(lock: Path, path: Path, wait: float) -> IO[str]:
    begin = time.monotonic()
    while True:
        file = open(lock, "a+")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait == math.inf else fcntl.LOCK_NB))
            if _is_at(lock, file):
                return file
        except BlockingIOError:
            _check_patience(file, path, wait, time.monotonic() - begin)
            time.sleep(POLL_SECONDS)
        except BaseException:
            file.close()
            raise
        file.close()  # of a holder that has just removed it


def _is_at(lock: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(lock.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _check_patience(file: IO[str], path: Path, wait: float, waited: float) -> None:
    """Held when the wait is over; the children of a dead holder are given some time."""
    file.seek(0)
    holder = Process.parse(file.read())
    dying = holder is not None and holder.here() and not holder.alive()
    if waited >= max(wait, DYING_SECONDS if dying else 0):
        file.close()
        who = f"process {holder.pid} on {holder.host}" if holder else "another process"
        raise Held(f"{path}: {who} is writing it; wait or end it")
