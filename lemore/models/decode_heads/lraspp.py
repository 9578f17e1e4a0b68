"""LR-ASPP, the light head of MobileNetV3.

Reproduces "Searching for MobileNetV3" (ICCV 2019), section 6.4 and Figure 10, with the global
average that torchvision's model takes in place of the paper's 49x49 pooling.
"""

import torch
from torch import Tensor, nn

from lemore.models.layers import ConvNorm, get_size, resize

WIDTH = 128


class LRASPPHead(nn.Module):
    """Last map, gated by its mean; added at the stride of the low map -> logits B K h w.

    low_feature: which of the backbone's maps is the one at 1/8.
    """

    def __init__(
        self, channels: tuple[int, ...], num_classes: int, dropout: float, low_feature: int
    ) -> None:
        super().__init__()
        if low_feature not in range(len(channels) - 1):
            known = f"0..{len(channels) - 2}"
            raise ValueError(
                f"decode head lraspp: low_feature is {low_feature!r}, expected {known}"
            )
        self.low_feature = low_feature
        self.project = ConvNorm(channels[-1], WIDTH, activation=nn.ReLU)
        self.gate = nn.Conv2d(channels[-1], WIDTH, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)
        self.low_classifier = nn.Conv2d(channels[low_feature], num_classes, 1)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        low, high = features[self.low_feature], features[-1]
        gate = torch.sigmoid(self.gate(high.mean((2, 3), keepdim=True)))
        x = resize(self.project(high) * gate, get_size(low))
        return self.low_classifier(low) + self.classifier(self.dropout(x))


build = LRASPPHead
