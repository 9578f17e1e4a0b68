"""The run of a training, evaluation or profile in the tracking store.

Nothing here waits for the store. What a stage records is kept in the file of a pending run; a
thread sends it to the store. What could not be sent stays in the file, and the next job of any kind
that reaches the store sends it, or `lemore sync`.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from lemore.runtime.files import hash_file
from lemore.runtime.lock import LockHeld
from lemore.runtime.tracking.metrics_file import MetricsFile, make_row, read_clock
from lemore.runtime.tracking.pending_run import (
    PendingRun,
    RunDescription,
    find_store,
    hide_password,
    hold_pending,
    list_pending,
)

log = logging.getLogger(__name__)
SECONDS_BETWEEN_BATCHES = 2.0
MOST_SECONDS_BETWEEN_TRIES = 30.0
OPENING_SECONDS = 60.0  # longest wait for a run's id
CLOSING_SECONDS = 20.0
INTERRUPTED_SECONDS = 1.0


class TrackedRun:
    """An open run. Nothing waits for the store except `run_id`, and that only briefly."""

    def __init__(self, pending: PendingRun, on_disk: bool):
        self.pending, self.on_disk = pending, on_disk
        self.id, self.sent = "", False
        self.tried, self.done = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._send, daemon=True, name="tracking")
        self.thread.start()

    @property
    def run_id(self) -> str:
        """The run's id, "" if the store could not be reached so far.

        A stage that measures must record its metrics first.
        """
        self.tried.wait(OPENING_SECONDS)
        return self.id

    def record_metrics(self, metrics: dict[str, float], step: int = 0) -> None:
        self.pending.rows.append(make_row(step, metrics))

    def add_artifact(self, path: Path, folder: str | None = None) -> None:
        self.pending.artifacts.append((str(path.absolute()), folder or "", hash_file(path)))

    def set_tag(self, name: str, value: str) -> None:
        self.pending.tags = self.pending.tags | {name: value}

    def set_model(self, weights: str, step: int, file: Path) -> None:
        """Names what a training leaves: the digest of its weights, the iteration that they are of
        and their file."""
        self.set_tag("weights_sha256", weights)
        self.pending.model = {"weights_sha256": weights, "step": step, "file": str(file)}

    def end(self, status: str, seconds: float) -> None:
        """Records how the stage has ended and waits up to `seconds` for the store to have it all.

        What the store lacks then is kept on disk, even if the file has been removed.
        """
        pending = self.pending
        pending.ended, pending.status = read_clock(), status
        self.done.set()
        self.thread.join(seconds)
        if not self.on_disk:
            return
        try:
            if self.sent:
                return pending.path.unlink(missing_ok=True)
            if pending.metrics_file:  # the results may be moved
                pending.rows = MetricsFile(Path(pending.metrics_file)).read() + pending.rows
                pending.metrics_file = ""
            pending.write()
        except OSError as error:
            log.warning("tracking: no room for a pending run (%s); its rest is lost", error)
            return
        log.warning(
            "tracking: what the store does not know of this job is kept in %s; the next job sends "
            "it, or `lemore sync`",
            pending.path,
        )

    def _send(self) -> None:
        """Sends what is new again and again, until the stage has ended and all is sent."""
        pause, failures, run = 0.0, 0, None
        while not self.sent:
            last = self.done.wait(pause)
            try:
                run = run or self._open()
                run.send()
                self._set_id(run.id)
                pause, failures, self.sent = SECONDS_BETWEEN_BATCHES, 0, last
            except Exception as error:  # no error of tracking may stop the work
                run, failures = None, failures + 1
                pause = min(SECONDS_BETWEEN_BATCHES * 2**failures, MOST_SECONDS_BETWEEN_TRIES)
                self.tried.set()
                if failures == 1:
                    warn_of(error)
                if last:
                    return

    def _open(self) -> Any:
        from lemore.runtime.tracking.mlflow import MlflowRun

        if self.pending.description.measures:
            send_pending(self.done.is_set)  # earlier numbers, which are not measured again
        else:
            _drop_earlier(self.pending)
        run = MlflowRun(self.pending)
        self._set_id(run.id)
        send_pending(self.done.is_set)
        return run

    def _set_id(self, run_id: str) -> None:
        self.id = run_id
        if run_id:
            self.tried.set()
        else:
            self.tried.clear()


def _shorten(error: Exception) -> str:
    return hide_password(" ".join(str(error).split()))[:300]


def warn_of(error: Exception) -> None:
    log.warning(
        "tracking: %s cannot be used now (%s: %s); the work goes on, its metrics are kept on disk",
        *(hide_password(find_store()), type(error).__name__, _shorten(error)),
    )


@contextmanager
def track(
    description: RunDescription, metrics_file: MetricsFile | None = None
) -> Iterator[TrackedRun]:
    """Opens the run of a stage and closes it FINISHED, FAILED or KILLED.

    `metrics_file`: metrics that another process may append meanwhile.
    """
    pending = PendingRun.start(description, metrics_file)
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_pending(pending.path))
            pending.write()
            on_disk = True
        except OSError as error:
            log.warning("tracking: no room for a pending run (%s); it must be sent at once", error)
            on_disk = False
        run, status, seconds = TrackedRun(pending, on_disk), "FAILED", CLOSING_SECONDS
        try:
            yield run
            status = "FINISHED"
        except KeyboardInterrupt:
            status, seconds = "KILLED", INTERRUPTED_SECONDS
            raise
        except SystemExit:
            status = "KILLED"
            raise
        finally:
            run.end(status, seconds)


def send_pending(is_enough: Callable[[], bool] = lambda: False) -> tuple[int, int]:
    """Sends what ended processes have left, oldest first, until `is_enough()`.

    Returns the numbers of runs sent and of runs left (for another store, or refused).
    """
    sent = left = 0
    for path in list_pending():
        if is_enough():
            break
        try:
            with hold_pending(path):
                if path.exists():
                    _send_file(path)
            sent += 1
        except LockHeld:
            continue
        except Exception as error:  # one run must not keep the others from being sent
            left += 1
            log.warning("tracking: %s stays (%s)", path, _shorten(error))
    return sent, left


def _send_file(path: Path) -> None:
    from lemore.runtime.tracking.mlflow import MlflowRun

    pending = PendingRun.read(path)
    if pending.store != hide_password(find_store()):
        raise ValueError(f"it is for {pending.store}; set MLFLOW_TRACKING_URI to that")
    if pending.status == "RUNNING":  # its process was killed
        metrics_file = Path(pending.metrics_file or path)
        last = metrics_file if metrics_file.exists() else path
        pending.status, pending.ended = "KILLED", int(last.stat().st_mtime * 1000)
    MlflowRun(pending).send()
    path.unlink()


def _drop_earlier(pending: PendingRun) -> None:
    """Removes earlier pending runs of the same stage, since this run records everything again."""
    for path in list_pending():
        if path != pending.path and path.name.startswith(pending.description.digest):
            with suppress(LockHeld), hold_pending(path, CLOSING_SECONDS):
                path.unlink(missing_ok=True)
