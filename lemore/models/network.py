"""The network of a fine-tuning: a backbone and a head, to segment or to detect."""

from importlib import import_module
from typing import Self

from torch import nn

from lemore.config.code import NETWORKS
from lemore.config.jobs import FinetuneJob


class Network(nn.Module):
    """frozen: whether training leaves the backbone's weights and statistics as they are."""

    frozen = False
    backbone: nn.Module
    auxiliary_head: nn.Module | None  # of a segmentor's training

    def freeze_backbone(self) -> None:
        """Leaves the backbone as it is: no gradients, BatchNorm and drop path as in evaluation."""
        self.frozen = True
        self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


def make_network(job: FinetuneJob, input_size: tuple[int, int] | None = None) -> Network:
    """Makes a fine-tuning's network with fresh weights, for its training's size or another (H, W).

    ValueError names the configuration, the key and the nearest known one.
    """
    return import_module(NETWORKS[job.model.task]).make_model(job, input_size)
