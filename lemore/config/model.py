"""The schema of config/backbones/*.yaml and config/models/*.yaml. Torch-free."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Interval

from lemore.config.values import MAX_ARGUMENT, Arguments, BackboneInit, Line, Name, Number, Positive

# modules of backbones that torchvision publishes weights of
TORCHVISION = (
    "efficientnet", "mobilenet_v2", "mobilenet_v3", "mobilenet_v3_os32", "shufflenet_v2",
)  # fmt: skip


@dataclass(frozen=True)
class BackboneConfig:
    """The part of a network that pretraining trains.

    module: file in lemore/models/backbones, without `.py`.
    arguments: keyword arguments of that file's `build`.
    init: the source of its weights before fine-tuning:
        `pretrain`, `none`, `torchvision:<weights>` or `file:<path>`.
    """

    module: Name
    arguments: Arguments
    init: BackboneInit


def find_init_file(init: str) -> Path | None:
    """Returns the file of weights that an `init` names, None if it names another source."""
    kind, _, name = init.partition(":")
    return Path(name).expanduser().absolute() if kind == "file" else None


def get_start(init: str) -> str | None:
    """Returns the path or name of the whole model that an `init` names, None if it names none."""
    kind, _, name = init.partition(":")
    return os.path.expanduser(name) if kind == "checkpoint" else None


@dataclass(frozen=True)
class AuxiliaryHead:
    """A small FCN head that helps training and is dropped afterwards.

    feature: which of the backbone's maps it reads, from 0.
    width: channels of its 3x3 convolution.
    weight: factor of its loss; the decode head's has 1.
    """

    feature: Number
    width: Annotated[int, Interval(ge=1, le=MAX_ARGUMENT)]
    weight: Positive

    DECODE_HEAD: ClassVar[str] = "fcn"


@dataclass(frozen=True)
class ModelConfig:
    """A model: a backbone and the head that fine-tuning adds, to segment or to detect.

    label, encoder: as printed in the tables.
    backbone: name of a file in config/backbones, without `.yaml`.
    arguments: keyword arguments of the head's `build`.
    decode_head: file in lemore/models/decode_heads, without `.py`, of a model that segments.
    detection_head: file in lemore/models/detection_heads, without `.py`, of one that detects.
    auxiliary_head: a second head for training, if a model that segments has one.
    """

    label: Line
    encoder: Line
    backbone: Name
    arguments: Arguments
    decode_head: Name | None = None
    detection_head: Name | None = None
    auxiliary_head: AuxiliaryHead | None = None

    def __post_init__(self) -> None:
        if (self.decode_head is None) == (self.detection_head is None):
            raise ValueError("decode_head or detection_head: give one of the two")
        if self.detection_head is not None and self.auxiliary_head is not None:
            raise ValueError("auxiliary_head: it goes with a decode_head alone")

    @property
    def task(self) -> Literal["segmentation", "detection"]:
        return "segmentation" if self.detection_head is None else "detection"

    @property
    def heads(self) -> list[str]:
        """Modules below lemore.models that the model's heads are, such as decode_heads.lemore."""
        if self.detection_head is not None:
            return [f"detection_heads.{self.detection_head}"]
        names = [self.decode_head] + ([AuxiliaryHead.DECODE_HEAD] if self.auxiliary_head else [])
        return [f"decode_heads.{name}" for name in names]
