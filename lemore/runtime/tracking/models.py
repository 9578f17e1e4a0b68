"""Stores trained networks in MLflow, each as a version of a registered model.

They are kept in the pt2 format (torch.export), which MLflow loads without running any pickle where
MLFLOW_ALLOW_PICKLE_DESERIALIZATION is "false". weights.pt remains the result; this is a copy.
"""

import json
import re
from collections.abc import Mapping

import mlflow
import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pytorch import log_model as log_torch
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS
from torch import Tensor, nn

from lemore.runtime.checkpoint import hash_tensors
from lemore.runtime.tracking.logged_models import WEIGHTS, list_tags, open_model
from lemore.runtime.tracking.mlflow import connect
from lemore.runtime.tracking.pending_run import find_store
from lemore.runtime.tracking.tracked_run import warn_of


def log_model(run_id: str, model: nn.Module, example: Tensor) -> None:
    """Puts a network (eval mode, on the CPU) into its training's logged model and registers it.

    example: an input B 3 H W; H and W are those that the file takes, B may be any where the
    signature says -1. Nothing happens if these very weights are registered for the run already.
    If the store refuses, a warning is logged: weights.pt is the result.
    """
    try:
        _register(run_id, model, example)
    except Exception as error:  # whatever a store raises
        warn_of(error)


def _register(run_id: str, model: nn.Module, example: Tensor) -> None:
    client, weights = connect(), hash_tensors(model.state_dict())
    known = client.search_model_versions(f"run_id = '{run_id}'")
    if any(version.tags.get(WEIGHTS) == weights for version in known):
        return
    run = client.get_run(run_id)
    tags = list_tags(run)
    batch = _make_batch(model, example)
    mlflow.set_tracking_uri(find_store())
    logged = log_torch(
        model,
        model_id=open_model(client, run, weights).model_id,
        signature=_make_signature(model, batch),
        input_example=batch.numpy(),
        pip_requirements=["torch"],
        serialization_format="pt2",
    )
    name = f"{tags['dataset']}-{tags.get('model') or tags['backbone']}"
    _create_model(client, name, tags)
    version = client.create_model_version(
        name,
        logged.model_uri,
        run_id,
        tags=tags | {WEIGHTS: weights},
        description=f"Normalised images as B 3 H W in, logits out. Trained by the run {run_id}.",
        model_id=logged.model_id,
    )
    # The model's page names its versions by this tag, which only servers set by themselves.
    versions = json.dumps([{"name": name, "version": version.version}])
    client.set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: versions})
    # The alias of the run's newest version, in letters that MLflow takes.
    alias = re.sub(r"[^0-9A-Za-z_-]", "_", f"{tags['run']}-seed{tags['seed']}")
    client.set_registered_model_alias(name, alias, version.version)


def _make_batch(model: nn.Module, example: Tensor) -> Tensor:
    """Returns two images where the exported program then takes any number of them, else one.

    Some networks (PEM, SegNeXt) reshape by the number of images, which fixes it in their program.
    """
    two = example[:1].repeat(2, 1, 1, 1)  # a batch of one would always be fixed
    program = torch.export.export(model, (two,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    return two if program.range_constraints else example[:1]


def _make_signature(model: nn.Module, batch: Tensor) -> ModelSignature:
    """Returns the signature: float32 in and out, -1 as the batch's size where it may be any."""
    with torch.inference_mode():
        output: Tensor = model(batch)
    size = -1 if len(batch) > 1 else 1
    kind = np.dtype(np.float32)
    inputs, outputs = (
        Schema([TensorSpec(kind, (size, *tensor.shape[1:]))]) for tensor in (batch, output)
    )
    return ModelSignature(inputs=inputs, outputs=outputs)


def _create_model(client: MlflowClient, name: str, tags: Mapping[str, str]) -> None:
    """Makes the registered model unless it is there; another training may make it meanwhile."""
    kept = {key: tags[key] for key in ("dataset", "model", "backbone") if key in tags}
    try:
        client.create_registered_model(name, kept)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
