"""The network that pretraining trains: a backbone, average pooling and a linear layer."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from lemore.config.model import BackboneConfig
from lemore.config.size import Size
from lemore.models import build_backbone


class Classifier(nn.Module):
    """Images B 3 H W (normalised RGB) -> logits B K, from the backbone's last map."""

    def __init__(self, backbone: nn.Module, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        channels: Any = backbone.channels
        self.head = nn.Linear(channels[-1], num_classes)
        nn.init.normal_(self.head.weight, 0.0, 0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.backbone(x)[-1].mean((2, 3))))


def build_classifier(
    backbone: BackboneConfig,
    *,
    num_classes: int,
    input_size: Size,
    drop_path: float,
    dropout: float = 0.0,
) -> Classifier:
    """Builds a classifier for crops of `input_size` (H, W); ValueError names a wrong argument.

    Parameters that its output does not depend on do not require a gradient.
    """
    encoder = build_backbone(
        backbone.module,
        backbone.arguments,
        input_size=input_size,
        drop_path=drop_path,
        source=f"backbone {backbone.module}",
    )
    classifier = Classifier(encoder, num_classes, dropout)
    _freeze_unreached(classifier, input_size)
    return classifier


@torch.enable_grad()
def _freeze_unreached(model: nn.Module, input_size: Size) -> None:
    """Freezes what the logits do not depend on, such as HRNet's paths to its other maps: several
    workers wait for the gradient of each parameter that trains."""
    outline = copy.deepcopy(model).to("meta").eval()
    logits = outline(torch.empty(1, 3, *input_size, device="meta"))
    own, theirs = list(model.parameters()), list(outline.parameters())
    for parameter, slope in zip(
        own, torch.autograd.grad(logits.sum(), theirs, allow_unused=True), strict=True
    ):
        parameter.requires_grad_(slope is not None)
