"""What config/backbones/*.yaml and config/models/*.yaml hold (no torch: the Snakefile reads it)."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BackboneConfig:
    """The part of a network that pretraining trains.

    module: file in lemore/models/backbones, without `.py`.
    arguments: keyword arguments of that file's `build`.
    init: where its weights come from before fine-tuning:
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
class ModelConfig:
    """A segmentation model: a backbone and the decode head that fine-tuning adds.

    label, encoder: as printed in the tables.
    backbone: name of a file in config/backbones, without `.yaml`.
    decode_head: file in lemore/models/decode_heads, without `.py`.
    arguments: keyword arguments of that file's `build`.
    """

    label: str
    encoder: str
    backbone: str
    decode_head: str
    arguments: dict[str, Any]
