"""Makes the batches, the loss and the validation of a detector's fine-tuning."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lemore.config.jobs import FinetuneJob
from lemore.config.recipe import Train
from lemore.data.augment.detection import DetectionTransform
from lemore.data.augment.segmentation import fit_size
from lemore.data.detection_batches import DetectionBatches, take_labelled
from lemore.data.normalize import normalize
from lemore.data.store import Part, Store
from lemore.models.detector import PADDING, Detector
from lemore.runtime.worker import Worker
from lemore.stages.workers import shared

log = logging.getLogger(__name__)
SEEN = 1000  # photos whose objects are compared with the anchors


def make_batches(job: FinetuneJob, worker: Worker, model: Detector) -> shared.Batches:
    recipe, store = job.train, take_labelled(Store(worker.data, "train"))
    if not worker.rank:
        log.info("%s", describe_anchors(job, store, model.detection_head))
    place = (worker, recipe, make_transform(recipe))
    return shared.Batches(*place, kind=DetectionBatches, store=store)


def make_transform(recipe: Train) -> DetectionTransform:
    return DetectionTransform(recipe.img_scale, recipe.flip_probability, PADDING)


class DetectionLoss:
    """The loss of a batch from the loader: the scalar that training minimises, a mean over the
    images, so that parts of a batch and workers add up to the whole."""

    def __init__(self, recipe: Train, head: Any, device: torch.device) -> None:
        self.recipe, self.head, self.device = recipe, head, device

    def __call__(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        counts = batch["counts"].tolist()  # of boxes in each image; on the host
        names = ("image", "sizes", "boxes", "classes")
        image, sizes, *found = (batch[name].to(self.device, non_blocking=True) for name in names)
        images = normalize(image, sizes)  # B 3 H W
        layout = shared.memory_format(self.recipe.channels_last)
        with shared.autocast(self.recipe, self.device):
            outputs = model(images.contiguous(memory_format=layout))
        boxes, classes = (
            [rows[:count] for rows, count in zip(column, counts, strict=True)] for column in found
        )
        return self.head.loss(outputs, (images.shape[2], images.shape[3]), boxes, classes)


def make_loss(
    job: FinetuneJob, worker: Worker, model: Detector, device: torch.device, teacher: None
) -> DetectionLoss:
    return DetectionLoss(job.train, model.detection_head, device)


def describe_anchors(job: FinetuneJob, store: Part, head: Any) -> str:
    """Says how many objects of the first photos an anchor can overlap by half, without which they
    are hardly learnt."""
    scale, sizes, sides = job.train.img_scale, store.list_sizes()[:SEEN].tolist(), []
    for i, (height, width) in enumerate(sizes):
        objects, fitted = store.read_label(i), fit_size((height, width), scale)
        sides.append(objects.sizes[~objects.crowd] * np.float32(fitted[1] / width))
    found = torch.from_numpy(np.concatenate(sides))
    if not len(found):
        return f"the first {len(sides)} photos have crowds alone, of which nothing is learnt"
    share = (head.overlap_anchors(found) >= 0.5).float().mean().item()
    text = (
        f"an anchor can overlap {share:.0%} of {len(found)} objects by half, whose median side is "
        f"{found.prod(1).sqrt().median():.0f} pixels at img_scale {list(scale)}"
    )
    if share < 0.5:
        text += "; a larger img_scale or a smaller detection_head.smallest_anchor raises that"
    return text


def make_validation(
    job: FinetuneJob, worker: Worker, device: torch.device
) -> Callable[[nn.Module], dict[str, float]] | None:
    """Makes a function that measures on `val`, for the curves alone; None if not wanted."""
    if not job.train.validate_every or worker.rank:
        return None

    def validate(model: nn.Module) -> dict[str, float]:
        from lemore.evaluation import boxes

        title = f"validate {job.model_name} on {job.dataset}"
        place = (model, Store(worker.data, "val"), device, job.train.img_scale)
        results, _ = boxes.evaluate(*place, title=title)
        found = {f"val/{name}": results[key] for key, name in boxes.NAMES.items()}
        return {name: value for name, value in found.items() if value is not None}

    return validate
