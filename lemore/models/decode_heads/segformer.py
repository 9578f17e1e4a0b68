"""SegFormer's all-MLP head.

Reproduces "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers"
(NeurIPS 2021): one linear map per stage to a common width, upsampled to 1/4, concatenated coarse
to fine, fused by a 1x1 convolution. Differs in nothing known.
"""

import torch
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, init_weights, relu, resize


class SegFormerHead(nn.Module):
    """Maps at 1/4..1/32 -> logits B K H/4 W/4."""

    def __init__(
        self, channels: tuple[int, ...], num_classes: int, dropout: float, width: int
    ) -> None:
        super().__init__()
        # A linear layer over channels is a 1x1 convolution; the map needs no reshaping then.
        self.projections = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.fuse = ConvNorm(len(channels) * width, width, activation=relu())
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.apply(init_weights)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        size = (features[0].shape[-2], features[0].shape[-1])
        pairs = zip(self.projections, features, strict=True)
        maps = [resize(project(x), size) for project, x in pairs]
        return self.classifier(self.dropout(self.fuse(torch.cat(maps[::-1], dim=1))))


def build(
    *, channels: tuple[int, ...], num_classes: int, dropout: float, width: int
) -> SegFormerHead:
    """Head for any number of maps, fine to coarse; width 256 for B0 and B1, else 768."""
    if type(width) is not int or width < 1:
        raise ValueError(f"decode head segformer: width is {width!r}, expected a whole number")
    return SegFormerHead(channels, num_classes, dropout, width)
