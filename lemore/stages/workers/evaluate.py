"""The work of an evaluation, called where it runs."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lemore.config.recipe import Test
from lemore.config.size import Size
from lemore.data.store import Store
from lemore.evaluation import segmentation
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
    """Returns {"results", "predictions", "per_image"} of `segmentation.evaluate`."""
    torch.set_num_threads(job.threads)
    device = segmentation.choose_device(worker.gpus > 0)
    evaluation = segmentation.evaluate(
        job.network.to(device),
        Store(worker.data, job.test.split),
        device,
        job.test,
        job.images,
        job.crop_size,
        title=job.title,
    )
    names = ("results", "predictions", "per_image")
    return {name: getattr(evaluation, name) for name in names}
