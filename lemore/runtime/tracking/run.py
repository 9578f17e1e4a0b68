"""The run of a training, evaluation or profile in the tracking store.

Nothing here waits for the store: what is to be told is put into the outbox, from which a thread
carries it. What could not be delivered stays there; the next job of any kind that reaches the store
delivers it, or `lemore sync`.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from lemore.runtime.files import hash_file
from lemore.runtime.lock import LockHeld
from lemore.runtime.tracking.metrics_file import Spool, row
from lemore.runtime.tracking.outbox import (
    Parcel,
    Stage,
    claimed,
    milliseconds,
    store_uri,
    waiting,
    without_password,
)

__all__ = ["Handle", "Stage", "deliver_waiting", "log_model", "store_uri", "track"]

log = logging.getLogger(__name__)
SECONDS_BETWEEN_BATCHES = 2.0
MOST_SECONDS_BETWEEN_TRIES = 30.0
OPENING_SECONDS = 60.0  # that asking for a run's id may take
CLOSING_SECONDS = 20.0
INTERRUPTED_SECONDS = 1.0


class Handle:
    """An open run. No method waits for the store, except `run_id`, and that not for long."""

    def __init__(self, parcel: Parcel, on_disk: bool):
        self.parcel, self.on_disk = parcel, on_disk
        self.id = ""
        self.tried, self.done, self.delivered = (threading.Event() for _ in range(3))
        self.thread = threading.Thread(target=self._carry, daemon=True, name="tracking")
        self.thread.start()

    @property
    def run_id(self) -> str:
        """The run's id, "" if the store could not be reached so far.

        For a stage that measures: to be asked after its metrics are told.
        """
        self.tried.wait(OPENING_SECONDS)
        return self.id

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        self.parcel.rows.append(row(step, values))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self.parcel.artifacts.append((str(path.absolute()), folder or "", hash_file(path)))

    def tag(self, name: str, value: str) -> None:
        self.parcel.tags = self.parcel.tags | {name: value}

    def end(self, status: str, seconds: float) -> None:
        """Notes how the stage ended and gives the store this long to hear it."""
        self.parcel.ended, self.parcel.status = milliseconds(), status
        self.done.set()
        self.thread.join(seconds)
        if not self.on_disk:
            return
        try:
            self._settle(self.parcel)
        except OSError as error:
            log.warning("tracking: the outbox is gone (%s); what was not told is lost", error)

    def _settle(self, parcel: Parcel) -> None:
        """Empties the outbox of what was told, keeps in it what was not; makes it again for that
        if somebody has removed it."""
        if self.delivered.is_set():
            return parcel.path().unlink(missing_ok=True)
        parcel.rows, parcel.spool = _all_rows(parcel), ""
        parcel.write()
        log.warning(
            "tracking: what this job has to tell waits in %s; the next job delivers it, or "
            "`lemore sync`",
            parcel.path(),
        )

    def _carry(self) -> None:
        pause, failures, courier = 0.0, 0, None
        while not self.delivered.is_set():
            last = self.done.wait(pause)
            try:
                courier = courier or self._courier()
                courier.deliver()
                self._know(courier)
                pause, failures = SECONDS_BETWEEN_BATCHES, 0
                if last:
                    self.delivered.set()
            except Exception as error:  # whatever it is, it must not touch the work
                courier, failures = None, failures + 1
                pause = min(SECONDS_BETWEEN_BATCHES * 2**failures, MOST_SECONDS_BETWEEN_TRIES)
                self.tried.set()
                if failures == 1:
                    _warn(error)
                if last:
                    return

    def _courier(self) -> Any:
        from lemore.runtime.tracking.mlflow import Courier

        if self.parcel.stage.measures:
            deliver_waiting(self.done.is_set)  # earlier numbers of it are not told again
        else:
            _drop_earlier(self.parcel)
        courier = Courier(self.parcel)
        self._know(courier)
        deliver_waiting(self.done.is_set)
        return courier

    def _know(self, courier: Any) -> None:
        self.id = courier.run_id
        if self.id:
            self.tried.set()
        else:
            self.tried.clear()


def _all_rows(parcel: Parcel) -> list[dict]:
    return (Spool(Path(parcel.spool)).rows() if parcel.spool else []) + parcel.rows


def _text(error: Exception) -> str:
    """In one line, without the password that a store's address may hold."""
    return without_password(" ".join(str(error).split()))[:300]


def _warn(error: Exception) -> None:
    log.warning(
        "tracking: %s cannot be used now (%s: %s); the work goes on, and what it has to tell waits",
        *(without_password(store_uri()), type(error).__name__, _text(error)),
    )


@contextmanager
def track(stage: Stage, spool: Spool | None = None) -> Iterator[Handle]:
    """Opens the run of a stage and closes it FINISHED, FAILED or KILLED.

    `spool`: metrics that somebody else writes meanwhile.
    """
    parcel = Parcel.begin(stage, spool.path if spool else None)
    with ExitStack() as stack:
        handle = Handle(parcel, _placed(parcel, stack))
        try:
            yield handle
        except KeyboardInterrupt:
            handle.end("KILLED", INTERRUPTED_SECONDS)
            raise
        except SystemExit:
            handle.end("KILLED", CLOSING_SECONDS)
            raise
        except BaseException:
            handle.end("FAILED", CLOSING_SECONDS)
            raise
        handle.end("FINISHED", CLOSING_SECONDS)


def _placed(parcel: Parcel, stack: ExitStack) -> bool:
    """Puts the parcel into the outbox and holds it there; whether that could be done."""
    try:
        stack.enter_context(claimed(parcel.path()))
        parcel.write()
    except OSError as error:
        log.warning("tracking: no outbox (%s); what cannot be told at once is lost", error)
        return False
    return True


def deliver_waiting(enough: Callable[[], bool] = lambda: False) -> tuple[int, int]:
    """Delivers what ended processes have left, oldest first, until `enough()`.

    Returns the numbers of parcels delivered and of those left (for another store, or refused).
    """
    delivered = left = 0
    for path in waiting():
        if enough():
            break
        try:
            with claimed(path):
                if path.exists():
                    _deliver(path)
            delivered += 1
        except LockHeld:
            continue
        except Exception as error:  # one parcel must not keep the others from going
            left += 1
            log.warning("tracking: %s stays (%s)", path, _text(error))
    return delivered, left


def _deliver(path: Path) -> None:
    from lemore.runtime.tracking.mlflow import Courier

    parcel = Parcel.read(path)
    if parcel.store != without_password(store_uri()):
        raise ValueError(f"it is for {parcel.store}; set MLFLOW_TRACKING_URI to that")
    if parcel.status == "RUNNING":  # its process was killed
        last = Path(parcel.spool) if parcel.spool and Path(parcel.spool).exists() else path
        parcel.status, parcel.ended = "KILLED", int(last.stat().st_mtime * 1000)
    Courier(parcel).deliver()
    path.unlink()


def _drop_earlier(parcel: Parcel) -> None:
    """Earlier parcels of this very stage: it tells all of that again."""
    for path in waiting():
        if path != parcel.path() and path.name.startswith(parcel.stage.digest()):
            with suppress(LockHeld), claimed(path, CLOSING_SECONDS):
                path.unlink(missing_ok=True)


def log_model(run_id: str, model: Any, example: Any) -> None:
    """Logs a torch model to a training's run and registers it; a warning if the store refuses."""
    try:
        from lemore.runtime.tracking import models

        models.log_model(run_id, model, example)
    except Exception as error:  # weights.pt is the result, this is a copy
        _warn(error)
