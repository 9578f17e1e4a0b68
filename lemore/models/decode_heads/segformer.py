"""SegFormer's all-MLP head.

Reproduces "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers"
(NeurIPS 2021): one linear map per stage to a common width, upsampled to 1/4, concatenated coarse
to fine, fused by a 1x1 convolution. Differs in nothing known.
"""

import torch
from torch import Tensor, nn

from lemore.models.head import Channels, DecodeHead
from lemore.models.layers import ConvNorm, get_size, resize


class SegFormerHead(DecodeHead):
    """Maps, fine to coarse -> logits at the first one's stride; width 256 (B0, B1) or 768."""

    def __init__(self, channels: Channels, num_classes: int, dropout: float, width: int) -> None:
        super().__init__()
        if type(width) is not int or width < 1:
            raise ValueError(f"decode head segformer: width is {width!r}, expected a whole number")
        # A linear layer over channels is a 1x1 convolution; the map needs no reshaping then.
        self.projections = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.fuse = ConvNorm(len(channels) * width, width, activation=nn.ReLU)
        self.add_classifier(width, num_classes, dropout)
        for layer in (*self.projections, self.classifier):  # the original leaves torch's weights
            assert isinstance(layer, nn.Conv2d)
            layer.reset_parameters()

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        size = get_size(features[0])
        pairs = zip(self.projections, features, strict=True)
        maps = [resize(project(x), size) for project, x in pairs]
        return self.classify(self.fuse(torch.cat(maps[::-1], dim=1)))


build = SegFormerHead
