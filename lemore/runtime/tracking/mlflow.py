"""Runs in an MLflow store.

A stage's run is found by its identity (stage, run, dataset, model, seed) and its key (a hash of
code, configuration and data): the same key continues the run, another key supersedes it. Where a
stage measures (profile, evaluate, summary), other numbers under the same key supersede it too.
"""

import math
import os
import re
from contextlib import AbstractContextManager, nullcontext
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
from lemore.runtime.tracking.logged_models import (
    DIGEST_LENGTH,
    find_measured,
    is_measure,
    link_model,
    spare_old_servers,
)
from lemore.runtime.tracking.metrics_file import MetricsFile, Row
from lemore.runtime.tracking.pending_run import PendingRun, find_store

# The UI opens such experiments with charts of runs, others with traces of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
# what a store says of the id of a run that another store has made
UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
METRICS_PER_BATCH = 900  # the API takes at most 1000


def connect() -> MlflowClient:
    """Returns a client of the store, which it creates if need be."""
    with _hold_store():  # an SQLite store cannot be created twice at once
        client = MlflowClient(find_store())
        client.search_experiments(max_results=1)
    return client


def _hold_store() -> AbstractContextManager[None]:
    file = find_store().removeprefix("sqlite:///")
    return hold_lock(Path(file), math.inf) if file != find_store() else nullcontext()


class MlflowRun:
    """A pending run in the store; each `send` sends what is new in it.

    Another object for the same pending run repeats nothing, since it asks the store first. Methods
    may raise anything that MLflow and the network raise. `id` is "" until the run is open.
    """

    def __init__(self, pending: PendingRun):
        self.pending, self.client = pending, connect()
        self.id, self.asked = "", False
        self.model: dict[str, str] = {}  # how measures name their logged model and dataset
        file = pending.metrics_file
        self.metrics_file = MetricsFile(Path(file)) if file else None
        self.last_steps: dict[str, int] = {}  # metric -> last step in the store
        self._open()

    def _open(self) -> None:
        """Opens the run, unless its choice depends on numbers that are still to come."""
        if not self.id and (self.pending.rows or not self.asked):
            self.asked = True
            with _hold_store():  # two runs that name one dataset at once would collide
                run = open_run(self.client, self.pending)
            if run is not None:
                with spare_old_servers():
                    self.model = find_measured(self.client, run, self.pending.description)
                self.id = run.info.run_id

    def send(self) -> None:
        """Sends metrics in order, each step once; at the end also all else that the run has."""
        self._open()
        if not self.id:
            return
        pending, status = self.pending, self.pending.status  # its rows are complete if it has ended
        self._send_metrics(self.metrics_file.read_new() if self.metrics_file else [])
        self._send_metrics(pending.rows)
        if status == "RUNNING":
            return
        for name, value in pending.tags.items():
            self.client.set_tag(self.id, name, value)
        for file, folder, digest in pending.artifacts:
            if Path(file).exists() and hash_file(file) == digest:  # otherwise it was replaced since
                self.client.log_artifact(self.id, file, folder or None)
        self.client.set_terminated(self.id, status, pending.ended)
        if pending.model:
            with spare_old_servers():
                link_model(self.client, self.id, pending)

    def _send_metrics(self, rows: list[Row]) -> None:
        metrics = []
        for row in list(rows):
            for name, value in row["metrics"].items():
                name = _clean_name(name)
                if name not in self.last_steps:
                    history = self.client.get_metric_history(self.id, name)
                    self.last_steps[name] = max((entry.step for entry in history), default=-1)
                if row["step"] > self.last_steps[name]:
                    of = self.model if is_measure(name) else {}
                    metrics.append(Metric(name, float(value), row["time"], row["step"], **of))
                    self.last_steps[name] = row["step"]
        for i in range(0, len(metrics), METRICS_PER_BATCH):
            self.client.log_batch(self.id, metrics=metrics[i : i + METRICS_PER_BATCH])


def open_run(client: MlflowClient, pending: PendingRun) -> Run | None:
    """Returns the run in the store: the earlier one with its key, set to running, or a new one.

    None if it repeats a measurement that a run has, and its own numbers are not known yet or never
    will be. All runs with its identity but the latest get the tags superseded = yes and
    superseded_by, the run that took their place.
    """
    description = pending.description
    name = description.experiment
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name, tags=KIND)
    same_stage = [f"tags.`lemore.{k}` = '{v}'" for k, v in description.identity.items()]
    runs = client.search_runs([experiment], " and ".join(same_stage))  # latest first
    same_key = [run for run in runs if run.data.tags.get("lemore.key") == description.key]
    own = next((run for run in same_key if run.info.start_time == pending.begun), None)
    kept = own or next(iter(same_key), None)
    if description.measures and kept and not own and kept.data.metrics:
        if not pending.rows:
            return None
        metrics = {_clean_name(k): v for row in pending.rows for k, v in row["metrics"].items()}
        if kept.data.metrics != {name: float(value) for name, value in metrics.items()}:
            kept = None
    run = kept or _create_run(client, experiment, pending)
    others = [other for other in runs if other.info.run_id != run.info.run_id]
    later = [other for other in others if other.info.start_time > pending.begun]
    for other in others:
        if other not in later:
            _supersede(client, other.info.run_id, run.info.run_id)
    client.update_run(run.info.run_id, status="RUNNING")
    tags = {"superseded": "no", "lemore.process": pending.process}
    tags |= {"lemore.host": pending.process.split()[-1]}
    client.log_batch(run.info.run_id, tags=[RunTag(k, v) for k, v in tags.items()])
    if later:
        _supersede(client, run.info.run_id, later[0].info.run_id)
    elif "superseded_by" in run.data.tags:
        client.delete_tag(run.info.run_id, "superseded_by")
    return run


def _supersede(client: MlflowClient, run_id: str, by: str) -> None:
    tags = {"superseded": "yes", "superseded_by": by}
    client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])


def _create_run(client: MlflowClient, experiment: str, pending: PendingRun) -> Run:
    description = pending.description
    parents = {name: _find_parent(client, value) for name, value in description.parents.items()}
    lines = [description.note] if description.note else []
    lines += [f"- {name}: {_link(found)}" for name, found in parents.items() if found]
    tags = {f"lemore.{k}": v for k, v in description.identity.items()}
    tags |= {"lemore.key": description.key, "mlflow.note.content": "\n".join(lines)}
    tags |= {f"{name}_run_id": found.info.run_id for name, found in parents.items() if found}
    tags |= {"mlflow.source.git.commit": description.code} if description.code else {}
    run = client.create_run(experiment, pending.begun, tags, run_name=description.name)
    params = [Param(k, str(v)[:6000]) for k, v in flatten(description.params).items()]
    client.log_batch(run.info.run_id, params=params)
    inputs = [
        DatasetInput(
            Dataset(name, digest[:DIGEST_LENGTH], "local", f'{{"uri": "{name}"}}'),
            [InputTag("mlflow.data.context", context)],
        )
        for name, digest, context in description.datasets
    ]
    if inputs:
        try:
            client.log_inputs(run.info.run_id, inputs)
        except MlflowException:  # another client may just have made the same dataset
            client.log_inputs(run.info.run_id, inputs)
    return run


def _find_parent(client: MlflowClient, parent: str) -> Run | None:
    """Finds a parent's run by its id or by its weights; None if this store does not have it."""
    kind, _, digest = parent.rpartition(":")
    if kind != "weights":
        try:
            return client.get_run(parent) if parent else None
        except MlflowException as error:
            if error.error_code in UNKNOWN:
                return None
            raise
    experiments = [e.experiment_id for e in client.search_experiments()]
    same = f"tags.weights_sha256 = '{digest}'"
    found = client.search_runs(experiments, same, max_results=1) if digest else []
    return found[0] if found else None


def _link(run: Run) -> str:
    run_id = run.info.run_id
    return f"[{run_id}](#/experiments/{run.info.experiment_id}/runs/{run_id})"


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a nested mapping with dotted keys; one with keys that MLflow refuses stays whole."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, dict) and all(k == _clean_name(k) for k in value)
        flat |= flatten(value, f"{name}.") if nested else {name: value}
    return flat


def _clean_name(name: str) -> str:
    """Replaces characters that MLflow refuses in names: all but letters, digits and _-. :/"""
    return re.sub(r"[^\w\-. :/]", "_", name)
