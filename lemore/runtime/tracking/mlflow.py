"""Runs in an MLflow store.

A stage's run is found by its identity (stage, run, dataset, model, seed) and its key (a hash of
code, configuration and data): the same key continues the run, another key supersedes it. So do
other numbers under the same key of a stage that measures (profile, evaluate, summary).
"""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from lemore.runtime.files import hash_file
from lemore.runtime.lock import hold_lock
from lemore.runtime.process import Process
from lemore.runtime.tracking.metrics_file import Row, Tail
from lemore.runtime.tracking.outbox import Parcel, Stage, store_uri

# The UI opens such experiments with charts of runs, others with traces of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
METRICS_PER_BATCH = 900  # the API takes at most 1000


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
    with hold_lock(Path(uri.removeprefix("sqlite:///")), wait=math.inf):
        yield


class Courier:
    """Carries one parcel to the store, a part at a time: each `deliver` sends what is new in it.

    A new courier for the same parcel repeats nothing, since it asks the store first. It may raise
    anything that MLflow and the network raise. `run_id` is "" until the run is open.
    """

    def __init__(self, parcel: Parcel):
        self.parcel = parcel
        self.client = connect()
        self.run_id, self.asked = "", False
        self.open()
        self.tail = Tail(Path(parcel.spool)) if parcel.spool else None
        self.last: dict[str, int] = {}  # metric -> last step in the store
        self.sent_rows = self.sent_artifacts = 0
        self.sent_tags: dict[str, str] = {}

    def open(self) -> bool:
        """Whether the run is open; which one it is may depend on numbers that are to come."""
        if not self.run_id and (self.parcel.rows or not self.asked):
            self.asked = True
            with _lock(store_uri()):  # two runs that name one dataset at once would collide
                run = open_run(self.client, self.parcel)
            self.run_id = run.info.run_id if run else ""
        return bool(self.run_id)

    def deliver(self) -> None:
        """Metrics in order, each step once; then tags, artifacts and how the stage ended."""
        if not self.open():
            return
        ended, rows = self.parcel.status, self.parcel.rows[self.sent_rows :]
        self._metrics(self.tail.new() if self.tail else [])
        self._metrics(rows)
        self.sent_rows += len(rows)
        for name, value in self.parcel.tags.items() - self.sent_tags.items():
            self.client.set_tag(self.run_id, name, value)
            self.sent_tags[name] = value
        for file, folder, digest in self.parcel.artifacts[self.sent_artifacts :]:
            if Path(file).exists() and hash_file(file) == digest:  # else replaced since
                self.client.log_artifact(self.run_id, file, folder or None)
            self.sent_artifacts += 1
        if ended != "RUNNING":
            self.client.set_terminated(self.run_id, ended, self.parcel.ended)

    def _metrics(self, rows: list[Row]) -> None:
        metrics = []
        for row in rows:
            for name, value in row["metrics"].items():
                name = metric_name(name)
                if name not in self.last:
                    self.last[name] = self._last_step(name)
                if row["step"] > self.last[name]:
                    metrics.append(Metric(name, float(value), row["time"], row["step"]))
                    self.last[name] = row["step"]
        for i in range(0, len(metrics), METRICS_PER_BATCH):
            self.client.log_batch(self.run_id, metrics=metrics[i : i + METRICS_PER_BATCH])

    def _last_step(self, metric: str) -> int:
        history = self.client.get_metric_history(self.run_id, metric)
        return max((entry.step for entry in history), default=-1)


def open_run(client: MlflowClient, parcel: Parcel) -> Run | None:
    """The parcel's run: the earlier one with its key, running again, or a new one.

    None: it measures again what a run has numbers of, and its own are not known yet, or never will
    be. Of all runs with its identity only the youngest stays without the tag superseded = yes;
    superseded_by is the one that took a run's place.
    """
    stage = parcel.stage
    found = client.get_experiment_by_name(stage.experiment)
    experiment = (
        found.experiment_id if found else client.create_experiment(stage.experiment, tags=KIND)
    )
    of_stage = " and ".join(f"tags.`lemore.{k}` = '{v}'" for k, v in stage.identity.items())
    runs = client.search_runs([experiment], of_stage)  # youngest first
    same = [run for run in runs if run.data.tags.get("lemore.key") == stage.key]
    own = next((run for run in same if run.info.start_time == parcel.begun), None)
    kept = own or next(iter(same), None)
    if stage.measures and kept and not own and kept.data.metrics:
        if not parcel.rows:
            return None
        kept = kept if _has(kept, parcel.rows) else None
    run = kept or _created(client, experiment, parcel)
    others = [other for other in runs if other.info.run_id != run.info.run_id]
    younger = [other for other in others if other.info.start_time > parcel.begun]
    for other in others:
        if other not in younger:
            _supersede(client, other.info.run_id, run.info.run_id)
    client.update_run(run.info.run_id, status="RUNNING")
    process = Process.parse(parcel.process)
    tags = {"superseded": "no", "lemore.process": parcel.process}
    tags |= {"lemore.host": process.host} if process else {}
    client.log_batch(run.info.run_id, tags=[RunTag(k, v) for k, v in tags.items()])
    if younger:
        _supersede(client, run.info.run_id, younger[0].info.run_id)
    elif "superseded_by" in run.data.tags:
        client.delete_tag(run.info.run_id, "superseded_by")
    return run


def _has(run: Run, rows: list[Row]) -> bool:
    """Whether a run's last metrics are these."""
    metrics = {metric_name(name): value for row in rows for name, value in row["metrics"].items()}
    return run.data.metrics == {name: float(value) for name, value in metrics.items()}


def _supersede(client: MlflowClient, run_id: str, by: str) -> None:
    tags = {"superseded": "yes", "superseded_by": by}
    client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])


def _created(client: MlflowClient, experiment: str, parcel: Parcel) -> Run:
    stage = parcel.stage
    parents = {name: _run_id(client, value) for name, value in stage.parents.items()}
    tags = {f"lemore.{k}": v for k, v in stage.identity.items()}
    tags |= {"lemore.key": stage.key, "mlflow.note.content": _note(client, stage, parents)}
    tags |= {f"{name}_run_id": run_id for name, run_id in parents.items() if run_id}
    tags |= {"mlflow.source.git.commit": stage.code} if stage.code else {}
    run = client.create_run(experiment, parcel.begun, tags, run_name=stage.name)
    params = [Param(k, str(v)[:6000]) for k, v in flatten(stage.params).items()]
    client.log_batch(run.info.run_id, params=params)
    inputs = [
        DatasetInput(
            Dataset(name, digest[:36], "local", f'{{"uri": "{name}"}}'),
            [InputTag("mlflow.data.context", context)],
        )
        for name, digest, context in stage.datasets
    ]
    if inputs:
        _log_inputs(client, run.info.run_id, inputs)
    return run


def _log_inputs(client: MlflowClient, run_id: str, inputs: list[DatasetInput]) -> None:
    """Tried twice: another client may just have made the same dataset."""
    try:
        client.log_inputs(run_id, inputs)
    except MlflowException:
        client.log_inputs(run_id, inputs)


def _run_id(client: MlflowClient, parent: str) -> str:
    """A parent's run id, "" if it is known by its weights only and not in this store."""
    kind, _, digest = parent.rpartition(":")
    if kind != "weights":
        return parent
    experiments = [e.experiment_id for e in client.search_experiments()]
    same = f"tags.weights_sha256 = '{digest}'"
    found = client.search_runs(experiments, same, max_results=1) if digest else []
    return found[0].info.run_id if found else ""


def _note(client: MlflowClient, stage: Stage, parents: dict[str, str]) -> str:
    """Markdown note with links to the runs that this one stands on."""
    lines = [stage.note] if stage.note else []
    lines += [f"- {name}: {_link(client, run_id)}" for name, run_id in parents.items() if run_id]
    return "\n".join(lines)


def _link(client: MlflowClient, run_id: str) -> str:
    """Link to a run; its bare id if it lies in another store."""
    try:
        experiment = client.get_run(run_id).info.experiment_id
    except MlflowException:
        return run_id
    return f"[{run_id}](#/experiments/{experiment}/runs/{run_id})"


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
