"""A dilated fully convolutional head, the "FCN-8s" of the paper's Table 1.

After "Fully Convolutional Networks for Semantic Segmentation" (CVPR 2015), as the lineage
configures it: convolutions on the last map, no skip links.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, init_weights, relu, resize


class FCNHead(nn.Module):
    """Last map, or all maps at the first one's size -> logits at that stride."""

    def __init__(
        self,
        channels: tuple[int, ...],
        num_classes: int,
        dropout: float,
        *,
        inputs: str,
        width: int,
        convs: int,
        kernel: int,
        concat_input: bool,
    ) -> None:
        super().__init__()
        self.all_maps = inputs == "all"
        entering = sum(channels) if self.all_maps else channels[-1]
        widths = [entering] + [width] * convs
        self.convs = nn.Sequential(
            *(ConvNorm(a, b, kernel, activation=relu()) for a, b in pairwise(widths))
        )
        both = entering + width
        self.concat = ConvNorm(both, width, kernel, activation=relu()) if concat_input else None
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.apply(init_weights)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        x = features[-1]
        if self.all_maps:
            size = (features[0].shape[-2], features[0].shape[-1])
            x = torch.cat([resize(feature, size) for feature in features], dim=1)
        y = self.convs(x)
        if self.concat is not None:
            y = self.concat(torch.cat([x, y], dim=1))
        return self.classifier(self.dropout(y))


def build(
    *,
    channels: tuple[int, ...],
    num_classes: int,
    dropout: float,
    inputs: Literal["last", "all"],
    width: int,
    convs: int,
    kernel: int,
    concat_input: bool,
) -> FCNHead:
    """FCN: last map, two 3x3 of 512, input concatenated. HRNet: all maps, one 1x1."""
    if inputs not in ("last", "all"):
        raise ValueError(f"decode head fcn: inputs is {inputs!r}, expected last or all")
    return FCNHead(
        channels,
        num_classes,
        dropout,
        inputs=inputs,
        width=width,
        convs=convs,
        kernel=kernel,
        concat_input=concat_input,
    )
