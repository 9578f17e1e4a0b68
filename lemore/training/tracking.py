"""Runs in MLflow, one for each training, evaluation and profile.

A stage's run is found by its identity (stage, run, dataset, model, seed) and its key (a hash of
code, configuration and data): the same key continues the run, another key supersedes it. A store
that cannot be reached costs a warning, never the work.
"""

import logging
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.exceptions import MlflowException

from lemore.lock import locked
from lemore.training.process import alive, start_time

log = logging.getLogger(__name__)
# The UI opens such experiments with charts of runs, others with traces of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
METRICS_PER_BATCH = 900  # the API takes at most 1000


def store_uri() -> str:
    """MLFLOW_TRACKING_URI, or an SQLite file in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def connect() -> MlflowClient:
    """A client of the store; creates an SQLite store under a lock, since two at once would fail."""
    uri = store_uri()
    with _lock(uri):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def _lock(uri: str) -> Iterator[None]:
    if not uri.startswith("sqlite:///"):
        yield
        return
    with locked(Path(uri.removeprefix("sqlite:///")), wait=True):
        yield


@dataclass(frozen=True)
class Stage:
    """What a run is of. `identity` becomes tags and finds earlier runs of the same stage;
    `params` is the resolved configuration; `parents` maps a stage's name to its run id."""

    experiment: str
    name: str
    identity: dict[str, str]
    key: str
    params: dict[str, Any]
    note: str = ""
    parents: dict[str, str] = field(default_factory=dict)
    datasets: tuple[tuple[str, str, str], ...] = ()  # (name, digest, context)
    code: str = ""


class Handle:
    """An open run. All methods are safe when the store is gone: they warn once and do nothing."""

    def __init__(self, client: MlflowClient | None, run_id: str):
        self.client, self.run_id = client, run_id

    def rows(self, rows: list[dict]) -> None:
        """Logs spool rows in few requests."""
        metrics = [
            Metric(metric_name(k), float(v), row["time"], row["step"])
            for row in rows
            for k, v in row["metrics"].items()
        ]
        for i in range(0, len(metrics), METRICS_PER_BATCH):
            self._do("log_batch", self.run_id, metrics=metrics[i : i + METRICS_PER_BATCH])

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        self.rows([{"step": step, "time": int(time.time() * 1000), "metrics": values}])

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self._do("log_artifact", self.run_id, str(path), folder)

    def tag(self, name: str, value: str) -> None:
        self._do("set_tag", self.run_id, name, value)

    def end(self, status: str) -> None:
        self._do("set_terminated", self.run_id, status)

    def last_step(self, metric: str) -> int:
        """Largest step that the store has of a metric, or -1."""
        history = self._do("get_metric_history", self.run_id, metric_name(metric)) or []
        return max((entry.step for entry in history), default=-1)

    def _do(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if self.client is None:
            return None
        try:
            return getattr(self.client, method)(*args, **kwargs)
        except (MlflowException, OSError) as error:
            log.warning("tracking: %s failed (%s); the results themselves are safe", method, error)
            return None


@contextmanager
def track(stage: Stage) -> Iterator[Handle]:
    """Opens the run of a stage and closes it FINISHED, FAILED or KILLED."""
    handle = _open(stage)
    try:
        yield handle
    except (KeyboardInterrupt, SystemExit):
        handle.end("KILLED")
        raise
    except BaseException:
        handle.end("FAILED")
        raise
    handle.end("FINISHED")


def _open(stage: Stage) -> Handle:
    try:
        client = connect()
        experiment = _experiment(client, stage.experiment)
        with _lock(store_uri()):  # two runs that name one dataset at once would collide
            run = _continued(client, experiment, stage) or _created(client, experiment, stage)
    except (MlflowException, OSError) as error:
        log.warning("tracking: %s cannot be used (%s); going on without it", store_uri(), error)
        return Handle(None, "")
    return Handle(client, run.info.run_id)


def _experiment(client: MlflowClient, name: str) -> str:
    with _lock(store_uri()):
        found = client.get_experiment_by_name(name)
        return found.experiment_id if found else client.create_experiment(name, tags=KIND)


def _continued(client: MlflowClient, experiment: str, stage: Stage) -> Run | None:
    """The earlier run with this key, running again; runs with other keys become superseded."""
    same = " and ".join(f"tags.`lemore.{k}` = '{v}'" for k, v in stage.identity.items())
    kept = None
    for run in client.search_runs([experiment], same):
        if kept is None and run.data.tags.get("lemore.key") == stage.key:
            kept = run
        else:
            client.set_tag(run.info.run_id, "superseded", "yes")
    if kept is not None:
        client.update_run(kept.info.run_id, status="RUNNING")
        for tag in _owner_tags():
            client.set_tag(kept.info.run_id, tag.key, tag.value)
        client.set_tag(kept.info.run_id, "superseded", "no")
    return kept


def _created(client: MlflowClient, experiment: str, stage: Stage) -> Run:
    tags = {f"lemore.{k}": v for k, v in stage.identity.items()}
    tags |= {
        "lemore.key": stage.key,
        "superseded": "no",
        "mlflow.note.content": _note(stage, client),
    }
    tags |= {f"{name}_run_id": run_id for name, run_id in stage.parents.items() if run_id}
    tags |= {"mlflow.source.git.commit": stage.code} if stage.code else {}
    run = client.create_run(experiment, run_name=stage.name, tags=tags)
    params = [Param(k, str(v)[:6000]) for k, v in flatten(stage.params).items()]
    client.log_batch(run.info.run_id, params=params, tags=_owner_tags())
    inputs = [
        DatasetInput(
            Dataset(name, digest[:36], "local", f'{{"uri": "{name}"}}'), [_context(context)]
        )
        for name, digest, context in stage.datasets
    ]
    if inputs:
        _log_inputs(client, run.info.run_id, inputs)
    return run


def _log_inputs(client: MlflowClient, run_id: str, inputs: list[DatasetInput]) -> None:
    """Tried twice: another client may just have made the same dataset."""
    for last in (False, True):
        try:
            return client.log_inputs(run_id, inputs)
        except MlflowException as error:
            if last:
                log.warning("tracking: the datasets of run %s are not recorded (%s)", run_id, error)


def _context(context: str) -> Any:
    from mlflow.entities import InputTag

    return InputTag("mlflow.data.context", context)


def _note(stage: Stage, client: MlflowClient) -> str:
    """Markdown note with links to the runs that this one stands on."""
    lines = [stage.note] if stage.note else []
    for name, run_id in stage.parents.items():
        if run_id:
            lines.append(f"- {name}: {_link(run_id, client)}")
    return "\n".join(lines)


def _link(run_id: str, client: MlflowClient) -> str:
    """Link to a run; its bare id if it lies in another store."""
    try:
        experiment = client.get_run(run_id).info.experiment_id
    except MlflowException:
        return run_id
    return f"[{run_id}](#/experiments/{experiment}/runs/{run_id})"


def _owner_tags() -> list[RunTag]:
    pid = os.getpid()
    return [
        RunTag("lemore.host", socket.gethostname()),
        RunTag("lemore.process", f"{pid} {start_time(pid)}"),
    ]


def sweep() -> int:
    """Marks as KILLED the RUNNING runs whose process on this host is gone; returns how many."""
    client = connect()
    swept = 0
    experiments = [e.experiment_id for e in client.search_experiments()]
    running = client.search_runs(experiments, "attributes.status = 'RUNNING'")
    for run in running:
        tags = run.data.tags
        if tags.get("lemore.host") != socket.gethostname():
            continue
        pid, started = tags.get("lemore.process", "0 0").split()
        if not alive(int(pid), started):
            client.set_terminated(run.info.run_id, "KILLED")
            swept += 1
    return swept


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def metric_name(name: str) -> str:
    """MLflow takes letters, digits and _-. :/ in names."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def log_model(run_id: str, model: Any, example: Any) -> None:
    """Logs a torch model to a training's run and registers it, in the pt2 format (no pickle)."""
    from lemore.training import registry

    registry.log_model(store_uri(), run_id, model, example)
