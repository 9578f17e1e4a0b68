"""The work of an evaluation, called where it runs."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import nn

from lemore.config.code import OF_DETECTION
from lemore.config.recipe import Test
from lemore.config.size import Size
from lemore.data.store import Store
from lemore.evaluation import segmentation
from lemore.runtime.device import choose_device
from lemore.runtime.worker import Worker


@dataclass(frozen=True)
class Measurement:
    """The settings of an evaluation. images: names of those whose label maps are returned.
    crop_size: (H, W) of the network's training. title: of the progress line."""

    network: nn.Module
    test: Test
    images: tuple[str, ...]
    crop_size: Size
    threads: int
    title: str


def evaluate(job: Measurement, worker: Worker) -> dict[str, Any]:
    """Returns {"results", "predictions", "per_image"} of `segmentation.evaluate`; of a detector
    {"results", "boxes"}, the predictions in COCO's form."""
    torch.set_num_threads(job.threads)
    device = choose_device("cuda" if worker.gpus > 0 else "cpu")
    network, store = job.network.to(device), Store(worker.data, job.test.split)
    if store.task == "detection":
        boxes: Any = import_module(OF_DETECTION["evaluate"])
        place = (network, store, device, job.test.img_scale)
        return dict(zip(("results", "boxes"), boxes.evaluate(*place, title=job.title), strict=True))
    evaluation = segmentation.evaluate(
        network,
        store,
        device,
        job.test,
        job.images,
        job.crop_size,
        title=job.title,
    )
    names = ("results", "predictions", "per_image")
    return {name: getattr(evaluation, name) for name in names}
