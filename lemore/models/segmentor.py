"""A segmentation network: backbone and decode head."""

from typing import Any

from torch import Tensor, nn

from lemore.models import build_backbone, build_decode_head, check_arguments
from lemore.models.schema import BackboneConfig, ModelConfig


class Segmentor(nn.Module):
    """Images B 3 H W (normalised RGB) -> logits B K h w at the head's native stride."""

    def __init__(self, backbone: nn.Module, decode_head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.decode_head = decode_head

    def forward(self, x: Tensor) -> Tensor:
        return self.decode_head(self.backbone(x))


def build_segmentor(
    model: ModelConfig,
    backbone: BackboneConfig,
    *,
    num_classes: int,
    input_size: tuple[int, int],
    drop_path: float,
    overrides: dict[str, Any],
) -> Segmentor:
    """The network of `model` for training crops of `input_size` (H, W).

    overrides: arguments of the decode head that a recipe sets for this dataset.
    ValueError names the configuration, the key and the nearest known one.
    """
    source = f"backbone {model.backbone}"
    check_arguments("backbone", backbone.module, backbone.arguments, source)
    arguments = {**model.arguments, **overrides}
    check_arguments("decode_head", model.decode_head, arguments, f"model {model.label}")
    encoder = build_backbone(
        backbone.module, input_size=input_size, drop_path=drop_path, **backbone.arguments
    )
    channels: Any = encoder.channels
    head = build_decode_head(
        model.decode_head, channels=channels, num_classes=num_classes, **arguments
    )
    return Segmentor(encoder, head)
