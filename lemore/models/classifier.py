"""The network that pretraining trains: a backbone, average pooling and a linear layer."""

from typing import Any

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
    """Builds a classifier for crops of `input_size` (H, W); ValueError names a wrong argument."""
    encoder = build_backbone(
        backbone.module,
        backbone.arguments,
        input_size=input_size,
        drop_path=drop_path,
        source=f"backbone {backbone.module}",
    )
    return Classifier(encoder, num_classes, dropout)
