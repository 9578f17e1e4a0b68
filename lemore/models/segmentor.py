"""A segmentation network: backbone and decode head."""

from typing import Any

from torch import Tensor, nn

from lemore.config.jobs import FinetuneJob
from lemore.config.model import AuxiliaryHead, BackboneConfig, ModelConfig
from lemore.models import build_backbone, build_decode_head, check_arguments


class Segmentor(nn.Module):
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
        """Logits; `for_loss` what the loss is made of: (outputs, auxiliary logits or None).

        outputs: the logits, or what a head with a `loss(outputs, label)` of its own gives it.
        """
        features = self.backbone(x)
        if not for_loss:
            return self.decode_head(features)
        outputs: Any = getattr(self.decode_head, "training_outputs", self.decode_head)
        if self.auxiliary_head is None:
            return outputs(features), None
        return outputs(features), self.auxiliary_head((features[self.auxiliary_feature],))


def make_model(job: FinetuneJob, input_size: tuple[int, int] | None = None) -> Segmentor:
    """The model of a fine-tuning with fresh weights, for its training crops or another (H, W)."""
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
    input_size: tuple[int, int],
    drop_path: float,
    overrides: dict[str, Any],
    auxiliary: bool = True,
) -> Segmentor:
    """The network of `model` for training crops of `input_size` (H, W).

    overrides: arguments of the decode head that a recipe sets for this dataset.
    auxiliary: with the auxiliary head, if the model has one.
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
    extra = model.auxiliary_head if auxiliary else None
    if extra is None:
        return Segmentor(encoder, head)
    helper = _auxiliary_head(extra, channels, num_classes, source)
    return Segmentor(encoder, head, helper, extra.feature)


def _auxiliary_head(
    config: AuxiliaryHead, channels: tuple[int, ...], num_classes: int, source: str
) -> nn.Module:
    if config.feature >= len(channels):
        raise ValueError(f"auxiliary_head.feature is {config.feature}, {source} has {channels}")
    return build_decode_head(
        config.DECODE_HEAD,
        channels=(channels[config.feature],),
        num_classes=num_classes,
        inputs="last",
        width=config.width,
        convs=1,
        kernel=3,
        concat_input=False,
    )
