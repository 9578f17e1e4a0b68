"""A segmentation network: backbone and decode head."""

from typing import Any

from torch import Tensor, nn

from lemore.config.jobs import FinetuneJob
from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.size import Size
from lemore.models import build_backbone, build_decode_head
from lemore.models.network import Network


class Segmentor(Network):
    """Images B 3 H W (normalised RGB) -> logits B K h w at the head's native stride."""

    def __init__(
        self,
        backbone: nn.Module,
        decode_head: nn.Module,
        auxiliary_head: nn.Module | None = None,
        auxiliary_feature: int = 0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.decode_head = decode_head
        self.auxiliary_head = auxiliary_head
        self.auxiliary_feature = auxiliary_feature

    def forward(self, x: Tensor, for_loss: bool = False) -> Any:
        """Returns logits, or `for_loss` the loss's arguments: (outputs, auxiliary logits or None).

        outputs: the logits, or the input of the head's own `loss(outputs, label)` if it has one.
        """
        features = self.backbone(x)
        if not for_loss:
            return self.decode_head(features)
        outputs: Any = getattr(self.decode_head, "training_outputs", self.decode_head)
        if self.auxiliary_head is None:
            return outputs(features), None
        return outputs(features), self.auxiliary_head((features[self.auxiliary_feature],))


def make_model(job: FinetuneJob, input_size: tuple[int, int] | None = None) -> Segmentor:
    """Makes a fine-tuning's model with fresh weights, for its training crops or another (H, W)."""
    return build_segmentor(
        job.model,
        job.backbone,
        num_classes=job.num_classes,
        input_size=input_size or job.train.crop_size,
        drop_path=job.train.drop_path,
        overrides={"dropout": job.train.dropout, **job.train.decode_head},
    )


def build_segmentor(
    model: ModelConfig,
    backbone: BackboneConfig,
    *,
    num_classes: int,
    input_size: Size,
    drop_path: float,
    overrides: dict[str, Any],
    auxiliary: bool = True,
) -> Segmentor:
    """Builds the network of `model` for training crops of `input_size` (H, W).

    overrides: arguments of the decode head that a recipe sets for this dataset.
    auxiliary: with the auxiliary head, if the model has one.
    ValueError names the configuration, the key and the nearest known one.
    """
    if model.decode_head is None:
        raise ValueError(f"model {model.label}: it detects objects, and has no decode_head")
    source = f"backbone {model.backbone}"
    encoder = build_backbone(
        backbone.module,
        backbone.arguments,
        input_size=input_size,
        drop_path=drop_path,
        source=source,
    )
    channels: Any = encoder.channels
    head = build_decode_head(
        model.decode_head,
        model.arguments | overrides,
        channels=channels,
        num_classes=num_classes,
        source=f"model {model.label}",
    )
    extra = model.auxiliary_head if auxiliary else None
    if extra is None:
        return Segmentor(encoder, head)
    if extra.feature >= len(channels):
        raise ValueError(f"auxiliary_head.feature is {extra.feature}, {source} has {channels}")
    fcn = {"inputs": "last", "width": extra.width, "convs": 1, "kernel": 3, "concat_input": False}
    helper = build_decode_head(
        extra.DECODE_HEAD, fcn, channels=(channels[extra.feature],), num_classes=num_classes
    )
    return Segmentor(encoder, head, helper, extra.feature)
