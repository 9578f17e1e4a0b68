"""SegNeXt's decoder: global context by matrix decomposition.

Reproduces "SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation" (NeurIPS
2022), whose head is the "Hamburger" of "Is Attention Better Than Matrix Decomposition?" (ICLR
2021). The published code draws the bases at random in every forward pass; here they are drawn
while training and fixed for inference, so that an image always gets the same labels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.models.head import Channels, DecodeHead
from lemore.models.layers import get_size, resize

RANK = 16
STEPS = {"train": 6, "eval": 7}
GROUPS = 32
EPS = 1e-6


class ConvGroupNorm(nn.Sequential):
    """1x1 without bias and group norm; B C h w -> B C' h w."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.GroupNorm(GROUPS, out_channels)
        )


class Factorization(nn.Module):
    """Non-negative X ~ bases coefficients^T by multiplicative updates; B C h w -> B C h w."""

    bases: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        fixed = torch.rand(channels, RANK, generator=generator, device="cpu")
        self.register_buffer("bases", F.normalize(fixed, dim=0), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        x = image.flatten(2)  # B C N
        bases = self._start(x)  # B C R
        coefficients = torch.softmax(x.transpose(1, 2) @ bases, dim=-1)  # B N R
        for _ in range(STEPS["train" if self.training else "eval"]):
            coefficients = _update(x.transpose(1, 2), bases, coefficients)
            bases = _update(x, coefficients, bases)
        coefficients = _update(x.transpose(1, 2), bases, coefficients)
        return (bases @ coefficients.transpose(1, 2)).view_as(image)

    def _start(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.bases.to(x).expand(len(x), -1, -1)
        drawn = torch.rand(len(x), x.shape[1], RANK, dtype=x.dtype, device=x.device)
        return F.normalize(drawn, dim=1)


def _update(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """One multiplicative step of `factor` (B n R) for x (B n m) ~ factor other^T."""
    return factor * (x @ other) / (factor @ (other.transpose(1, 2) @ other) + EPS)


class SegNeXtHead(DecodeHead):
    """Maps at 1/4 (unused), 1/8, 1/16, 1/32 -> logits B K H/8 W/8; width 256 (T)."""

    def __init__(self, channels: Channels, num_classes: int, dropout: float, width: int) -> None:
        super().__init__()
        self.squeeze = ConvGroupNorm(sum(channels[1:]), width)
        self.enter = nn.Conv2d(width, width, 1)
        self.factorization = Factorization(width)
        self.leave = ConvGroupNorm(width, width)
        self.align = ConvGroupNorm(width, width)
        self.add_classifier(width, num_classes, dropout)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        size = get_size(features[1])
        x = F.relu(self.squeeze(torch.cat([resize(f, size) for f in features[1:]], dim=1)))
        context = self.factorization(F.relu(self.enter(x)))
        x = F.relu(x + self.leave(context))
        return self.classify(F.relu(self.align(x)))


build = SegNeXtHead
