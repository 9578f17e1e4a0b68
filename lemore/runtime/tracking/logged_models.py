"""MLflow's logged models: one for the weights that each training leaves.

Its page leads to the run, to the datasets and to what was measured on each. A training with
`log_model: true` puts the network into it (models.py); otherwise it only names weights.pt, and
MLflow calls it external.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelInput, LoggedModelOutput, Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL

from lemore.runtime.tracking.pending_run import PendingRun, RunDescription

WEIGHTS = "weights_sha256"
# Tags of a training that its logged model and its registered version have too.
KEPT = ("stage", "run", "dataset", "model", "backbone", "seed", "key")
# Parameters of a training by which models are compared; its run has all of them.
PARAMS = (
    "num_classes", "init", "crop_size", "batch_size", "iterations", "optimizer", "lr", "keep",
)  # fmt: skip
# Measures of a whole split: no class's, and neither rates and times nor the machine's use.
MEASURES = re.compile(r"(train/loss|(?!train/|system/)[^/]+/[^/]+)")
DIGEST_LENGTH = 36  # of a dataset, the most that MLflow takes


def list_tags(run: Run) -> dict[str, str]:
    """Lists the tags of a training's run that its model keeps."""
    tags = run.data.tags
    return {name: tags[f"lemore.{name}"] for name in KEPT if f"lemore.{name}" in tags}


def name_dataset(description: RunDescription) -> dict[str, str]:
    """Returns how a metric names the dataset of its run, nothing if there is none."""
    if not description.datasets:
        return {}
    name, digest, _ = description.datasets[0]
    return {"dataset_name": name, "dataset_digest": digest[:DIGEST_LENGTH]}


def find_model(client: MlflowClient, weights: str, run_id: str) -> LoggedModel | None:
    """Finds the newest complete model with these weights, if possible of this run."""
    experiments = [found.experiment_id for found in client.search_experiments()]
    same = f"tags.`{WEIGHTS}` = '{weights}'"
    models = client.search_logged_models(experiments, same) if weights else []
    ready = [model for model in models if model.status == "READY"]
    return max(ready, key=lambda model: model.source_run_id == run_id, default=None)


def open_model(client: MlflowClient, run: Run, weights: str, **tags: str) -> LoggedModel:
    """Returns the model with these weights of this run; a new one is not complete yet."""
    run_id = run.info.run_id
    model = find_model(client, weights, run_id)
    if model is not None and model.source_run_id == run_id:
        return model
    kept = list_tags(run)
    name = f"{kept.get('model') or kept['backbone']}-seed{kept['seed']}"
    params = {key.rpartition(".")[2]: value for key, value in run.data.params.items()}
    return client.create_logged_model(
        run.info.experiment_id,
        re.sub(r"[^\w-]", "_", name),  # in letters that MLflow takes
        run_id,
        tags=kept | {WEIGHTS: weights} | tags,
        params={key: params[key] for key in PARAMS if key in params},
    )


def find_measured(client: MlflowClient, run: Run, description: RunDescription) -> dict[str, str]:
    """Makes the model that a run measures its input; returns how metrics name model and dataset.

    The result is empty where the run measures no model or the store does not know it.
    """
    trained = run.data.tags.get("finetune_run_id", "")
    model = find_model(client, description.model, trained)
    if model is None:
        return {}
    run_id, model_id = run.info.run_id, model.model_id
    inputs = client.get_run(run_id).inputs
    if model_id not in [given.model_id for given in (inputs.model_inputs if inputs else ())]:
        client.log_inputs(run_id, models=[LoggedModelInput(model_id)])
    return {"model_id": model_id, **name_dataset(description)}


def link_model(client: MlflowClient, run_id: str, pending: PendingRun) -> None:
    """Links a training's run, its dataset and its measures at the model's step with the model."""
    run, kept = client.get_run(run_id), pending.model
    step, data = kept["step"], name_dataset(pending.description)
    external = {MLFLOW_MODEL_IS_EXTERNAL: "true"}
    model = open_model(client, run, kept[WEIGHTS], **external)
    if model.status != "READY":
        client.finalize_logged_model(model.model_id, "READY")
    client.set_logged_model_tags(model.model_id, {"file": kept["file"], "step": str(step)})
    outputs = run.outputs.model_outputs if run.outputs else []
    if model.model_id not in [output.model_id for output in outputs]:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
    # As the store has them, since the same row sent with another time would be a second one.
    histories = [client.get_metric_history(run_id, n) for n in run.data.metrics if is_measure(n)]
    measured = [metric for history in histories for metric in history if metric.step == step]
    metrics = [
        Metric(m.key, m.value, m.timestamp, step, model_id=model.model_id, **data) for m in measured
    ]
    client.log_batch(run_id, metrics=metrics)


def is_measure(name: str) -> bool:
    return MEASURES.fullmatch(name) is not None


@contextmanager
def spare_old_servers() -> Iterator[None]:
    """Leaves out what a server before MLflow 3 does not have."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != "ENDPOINT_NOT_FOUND":
            raise
