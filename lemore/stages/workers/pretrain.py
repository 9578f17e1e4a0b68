"""The work of a pretraining, called where it runs."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lemore.config.jobs import PretrainJob
from lemore.config.recipe import Pretrain
from lemore.data.augment.classification import ClassificationTransform, crop_center
from lemore.data.augment.mixture import mix, swap_partners
from lemore.data.normalize import normalize
from lemore.data.store import Store
from lemore.evaluation.pipeline import overlap
from lemore.models.classifier import build_classifier
from lemore.runtime.worker import Worker
from lemore.stages.workers import shared
from lemore.training import losses, optim
from lemore.training.loop import TrainingLoop

TEST_BATCH = 50
TOP = (1, 5)


def train(job: PretrainJob, worker: Worker) -> dict[str, Any]:
    """Trains from the newest checkpoint, leaves weights.pt in the worker's folder and tests it
    (rank 0). Returns what run.json records of the training."""
    recipe = job.recipe
    device = shared.set_up(worker, recipe.threads)
    held_out = Store(worker.data, recipe.split)

    def validate(network: nn.Module) -> dict[str, float]:
        return {f"val/{k}": v for k, v in top_k(network, held_out, recipe, device).items()}

    batches = shared.Batches(worker, recipe, make_transform(recipe), recipe.repeats)
    loop = make_loop(job, worker, device, batches, None if worker.rank else validate)
    trained = shared.run(loop)
    result = shared.finish(job, worker, loop.kept, trained)
    if worker.rank:
        return result
    details = {"stands_for": job.stands_for, "scenes": job.scenes}
    details["input_size"] = list(recipe.crop_size)
    return result | details | top_k(loop.kept, held_out, recipe, device) | {"images": len(held_out)}


def make_loop(
    job: PretrainJob,
    worker: Worker,
    device: torch.device,
    batches: shared.Batches,
    validate: Callable[[nn.Module], dict[str, float]] | None,
) -> TrainingLoop:
    """Makes the loop with a new model; needs no data."""
    recipe = job.recipe
    model = build_classifier(
        job.backbone,
        num_classes=job.num_classes,
        input_size=recipe.crop_size,
        drop_path=recipe.drop_path,
        dropout=recipe.dropout,
    )
    shared.check_smallest_part(model, recipe, worker.world_size)
    shared.place(model, recipe, device)
    spared = optim.spare_undecayed(model, recipe.decayed)
    groups = optim.group_parameters(model, recipe.weight_decay, spared)
    return shared.make_loop(
        worker,
        recipe,
        name=f"{job.backbone_name} on {job.dataset}",
        model=model,
        optimizer=make_optimizer(recipe, groups),
        batches=batches,
        loss=lambda network, batch: classification_loss(network, batch, recipe, device),
        validate=validate,
    )


def make_optimizer(recipe: Pretrain, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if recipe.optimizer == "rmsprop":
        return optim.RMSpropTF(optim.drop_names(groups))
    if recipe.optimizer == "sgd":
        return optim.make_sgd(groups, recipe.momentum)
    return optim.make_adamw(groups, recipe.betas)


def make_transform(recipe: Pretrain) -> ClassificationTransform:
    """Makes the transform, whose settings have the same names in the recipe."""
    names = [field.name for field in fields(ClassificationTransform)]
    return ClassificationTransform(**{name: getattr(recipe, name) for name in names})


def classification_loss(
    model: nn.Module, batch: dict[str, Tensor], recipe: Pretrain, device: torch.device
) -> Tensor:
    """Computes the scalar that training minimises from a batch of the loader."""
    images = normalize(batch["image"].to(device, non_blocking=True), None)
    label, mixture = batch["label"].to(device, non_blocking=True), None
    if "mixture" in batch:
        images, share = mix(images, batch["mixture"].to(device, non_blocking=True))
        mixture = swap_partners(label), share
    images = images.contiguous(memory_format=shared.memory_format(recipe.channels_last))
    with shared.autocast(recipe, device):
        logits = model(images)
    return losses.compute_classification_loss(
        logits.float(), label, recipe.label_smoothing, mixture
    )


@torch.inference_mode()
def top_k(
    model: nn.Module, store: Store, recipe: Pretrain, device: torch.device
) -> dict[str, float]:
    """Computes {"top1", "top5"}, fractions over the split; resizes and crops the centre.

    As many threads as torch has read ahead of the model.
    """
    model.eval()

    def read(start: int) -> tuple[Tensor, Tensor]:  # B 3 H W uint8, B
        samples = [store.read(i) for i in range(start, min(start + TEST_BATCH, len(store)))]
        crops = [crop_center(image, recipe.crop_size, recipe.test_share) for image, _ in samples]
        images = torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).copy())
        return images, torch.tensor([label for _, label in samples])

    def forward(batch: tuple[Tensor, Tensor]) -> list[int]:
        images, label = (part.to(device) for part in batch)
        logits = model(normalize(images, None))
        return [int(losses.count_correct(logits, label, k)) for k in TOP]

    starts = range(0, len(store), TEST_BATCH)
    counts = overlap(read, forward, list, starts, torch.get_num_threads())
    hits = [sum(column) for column in zip(*counts, strict=True)]
    return {f"top{k}": count / len(store) for k, count in zip(TOP, hits, strict=True)}
