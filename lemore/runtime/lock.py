"""One writer at a time on a file or folder, across processes; the lock dies with its holder."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lemore.runtime.process import Process


class LockHeld(OSError):
    """Another process holds the lock."""


@contextmanager
def hold_lock(path: Path, wait: float = 0) -> Iterator[None]:
    """Holds the lock beside `path`, for which it waits up to `wait` seconds (math.inf: forever).

    LockHeld names the holder's process and host if another process still holds it then. A fork
    does not inherit the lock, so that the children of a killed holder keep nobody waiting. The
    lock's file is removed with the lock; one that a kill has left does no harm.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f".{path.name}.lock")
    lock = FileLock(file, timeout=-1 if wait == math.inf else wait, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise LockHeld(f"{path}: {_name_holder(file)} is writing it; wait or end it") from None
    try:
        file.write_text(str(Process.find_own()))
        yield
    finally:
        if lock.is_locked:  # false in a forked child
            with suppress(OSError):  # its folder may be gone
                file.unlink()
            lock.release()


def _name_holder(file: Path) -> str:
    with suppress(OSError):
        if holder := Process.parse(file.read_text()):
            return f"process {holder.pid} on {holder.host}"
    return "another process"
