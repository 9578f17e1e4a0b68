"""The trained model whose predictions a fine-tuning learns beside the labels."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lemore.config.jobs import FinetuneJob
from lemore.data.store import Store
from lemore.models.fold import fold
from lemore.models.network import make_network
from lemore.runtime import checkpoint
from lemore.runtime.worker import Worker

if TYPE_CHECKING:
    from lemore.trained.checkpoint import Trained

log = logging.getLogger(__name__)


def load_teacher(job: FinetuneJob, worker: Worker) -> tuple[nn.Module, dict[str, Any]]:
    """Loads the model at `worker.teacher`, with its classes in the order of the data's.

    Returns it and what run.json records. ValueError if the file holds other weights than those of
    `worker.teacher_sha256`, or other classes than the data.
    """
    from lemore.trained.classes import fit_classes  # its code does not count, as in load_start
    from lemore.trained.find import read_trained

    trained = read_trained(worker.teacher)
    digest = checkpoint.hash_tensors(trained.state_dict)
    if worker.teacher_sha256 and digest != worker.teacher_sha256:
        raise ValueError(f"{trained.source}: replaced since this training began; start it anew")
    network = fit_classes(build_teacher(job, trained), trained, Store(worker.data, "train"))
    text = describe_teacher(job, trained)
    if not worker.rank:
        log.info("%s", text)
    named = {"source": trained.source, "model": trained.job.model_name}
    named |= {"dataset": trained.job.dataset, "tensors_sha256": digest}
    return network, named | {"text": text}


def build_teacher(job: FinetuneJob, trained: "Trained") -> nn.Module:
    """Builds the network in evaluation mode, without gradients, for the training's crops: mixing
    matrices of another size are carried over to it."""
    return fold(trained.unfolded(job.train.crop_size).eval()).requires_grad_(False)


def check_teacher(job: FinetuneJob, trained: "Trained", classes: Sequence[str], file: str) -> None:
    """Raises ValueError, which names the file of the job, for a teacher of other classes than the
    dataset's, and for a network on either side that has no logits to compare."""
    from lemore.trained.classes import order_classes

    assert job.train.teacher is not None
    key = f"{file}: train.teacher.checkpoint is '{job.train.teacher.checkpoint}'"
    for one in (job, trained.job):
        with torch.device("meta"):
            own_loss = hasattr(getattr(make_network(one), "decode_head", None), "loss")
        if own_loss:
            raise ValueError(
                f"{key}: {one.model_name} has a loss of its own and no logits to compare; leave "
                "the key out for it, or take another teacher"
            )
    try:
        order_classes(trained, classes, job.dataset)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def describe_teacher(job: FinetuneJob, trained: "Trained") -> str:
    """Describes in a line who teaches, and how much it counts."""
    teacher, theirs = job.train.teacher, trained.job
    assert teacher is not None
    return (
        f"learns from {theirs.model_name} on {theirs.dataset} ({trained.source}), "
        f"weight {teacher.weight:g}, temperature {teacher.temperature:g}"
    )
