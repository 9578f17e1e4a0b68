"""The schema of config/backbones/*.yaml and config/models/*.yaml. Torch-free."""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class BackboneConfig:
    """The part of a network that pretraining trains.

    module: file in lemore/models/backbones, without `.py`.
    arguments: keyword arguments of that file's `build`.
    init: the source of its weights before fine-tuning:
        `pretrain`, `none`, `torchvision:<weights>` or `file:<path>`.
    """

    module: str
    arguments: dict[str, Any]
    init: str

    def __post_init__(self) -> None:
        source, _, name = self.init.partition(":")
        plain = self.init in ("pretrain", "none")
        if not plain and not (source in ("torchvision", "file") and name):
            raise ValueError(
                f"backbone {self.module}, key 'init': '{self.init}' is not known; write"
                " pretrain, none, torchvision:<weights> or file:<path>"
            )


@dataclass(frozen=True)
class AuxiliaryHead:
    """A small FCN head that helps training and is dropped afterwards.

    feature: which of the backbone's maps it reads, from 0.
    width: channels of its 3x3 convolution.
    weight: factor of its loss; the decode head's has 1.
    """

    feature: int
    width: int
    weight: float

    DECODE_HEAD: ClassVar[str] = "fcn"


@dataclass(frozen=True)
class ModelConfig:
    """A segmentation model: a backbone and the decode head that fine-tuning adds.

    label, encoder: as printed in the tables.
    backbone: name of a file in config/backbones, without `.yaml`.
    decode_head: file in lemore/models/decode_heads, without `.py`.
    arguments: keyword arguments of that file's `build`.
    auxiliary_head: a second head for training, if the model has one.
    """

    label: str
    encoder: str
    backbone: str
    decode_head: str
    arguments: dict[str, Any]
    auxiliary_head: AuxiliaryHead | None = None

    def __post_init__(self) -> None:
        if self.auxiliary_head is not None and self.auxiliary_head.feature < 0:
            raise ValueError(f"model {self.label}: auxiliary_head.feature is negative")

    @property
    def decode_heads(self) -> list[str]:
        """Files in lemore/models/decode_heads that the model is made of."""
        return [self.decode_head] + ([AuxiliaryHead.DECODE_HEAD] if self.auxiliary_head else [])
