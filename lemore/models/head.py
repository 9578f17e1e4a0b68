"""Parts that several decode heads share."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, get_size, initialize_weights, resize

# Tensors that learn faster in TopFormer's recipe, and thus in LeMoRe's.
FUSE_AND_CLASSIFIER = (
    *("fuse.conv.weight", "fuse.bn.weight", "fuse.bn.bias"),
    *("classifier.weight", "classifier.bias"),
)
Channels = tuple[int, ...]  # of the backbone's maps, fine to coarse


class DecodeHead(nn.Module):
    """A head that ends in dropout over channels and a 1x1 classifier; B C h w -> B K h w."""

    def add_classifier(
        self, width: int, num_classes: int, dropout: float, *more: Callable[[nn.Module], None]
    ) -> None:
        """Adds the last two layers, then sets all initial weights: `initialize_weights`, `more`."""
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        for initialize in (initialize_weights, *more):
            self.apply(initialize)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)

    def classify(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(x))


@torch.no_grad()
def ignore_groups(conv: nn.Conv2d) -> None:
    """Makes the first weights smaller by the root of the number of groups: mmcv's initialisation
    of a head's convolution counts all outputs, whatever group they are in."""
    conv.weight /= math.sqrt(conv.groups)


class GatedFusion(nn.Module):
    """conv(local) * gate(conv(tokens)) + conv(tokens), all 1x1 (LeMoRe's GFM, TopFormer's SIM).

    local B C h w, tokens B C h' w' -> B width h w.
    """

    def __init__(self, channels: int, width: int, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.squash = gate
        self.local = ConvNorm(channels, width)
        self.gate = ConvNorm(channels, width)
        self.embedding = ConvNorm(channels, width)

    def forward(self, local: Tensor, tokens: Tensor) -> Tensor:
        size = get_size(local)
        gate = resize(self.squash(self.gate(tokens)), size)
        return torch.addcmul(resize(self.embedding(tokens), size), self.local(local), gate)
