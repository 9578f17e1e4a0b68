"""A detection network: backbone and detection head."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from lemore.config.jobs import FinetuneJob
from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.size import Size
from lemore.models import build_backbone, build_detection_head
from lemore.models.network import Network

PADDING = 128  # sides of inputs are multiples of it, the coarsest stride


class Detector(Network):
    """Images B 3 H W (normalised RGB) -> the raw outputs of the head, which has the loss and finds
    the boxes in them. H and W should be multiples of `padding`."""

    padding = PADDING

    def __init__(self, backbone: nn.Module, detection_head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.detection_head = detection_head

    def forward(self, x: Tensor) -> Any:
        return self.detection_head(self.backbone(x))


class BoxFinder(nn.Module):
    """A detector for one image that fills the input: 1 3 H W to the boxes in it, an exported file's
    outputs."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector: Any = detector

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Boxes N 4 (x1 y1 x2 y2 in pixels of the input), classes N int64, scores N."""
        found = self.detector.detection_head.select(self.detector(x), (x.shape[2], x.shape[3]))
        return tuple(found)


def make_model(job: FinetuneJob, input_size: Size | None = None) -> Detector:
    """Makes a fine-tuning's model with fresh weights, for its crop_size or another (H, W)."""
    return build_detector(
        job.model,
        job.backbone,
        num_classes=job.num_classes,
        input_size=input_size or job.train.crop_size,
        drop_path=job.train.drop_path,
        overrides=job.train.detection_head,
    )


def build_detector(
    model: ModelConfig,
    backbone: BackboneConfig,
    *,
    num_classes: int,
    input_size: Size,
    drop_path: float,
    overrides: dict[str, Any],
) -> Detector:
    """Builds the network of `model`, with mixing matrices for images of `input_size` (H, W).

    overrides: arguments of the detection head that a recipe sets.
    ValueError names the configuration, the key and the nearest known one, or says that the
    backbone's maps do not have the strides of the head's anchors.
    """
    if model.detection_head is None:
        raise ValueError(f"model {model.label}: it segments, and has no detection_head")
    source = f"backbone {model.backbone}"
    encoder = build_backbone(
        backbone.module,
        backbone.arguments,
        input_size=input_size,
        drop_path=drop_path,
        source=source,
    )
    channels: Any = encoder.channels
    head = build_detection_head(
        model.detection_head,
        model.arguments | overrides,
        channels=channels,
        num_classes=num_classes,
        source=f"model {model.label}",
    )
    detector = Detector(encoder, head)
    _check_strides(detector, source)
    return detector


@torch.no_grad()
def _check_strides(detector: Detector, source: str) -> None:
    """Raises ValueError unless the head has an anchor for each of its outputs."""
    outline: Any = copy.deepcopy(detector).to("meta").eval()
    image = torch.empty(1, 3, 2 * PADDING, 2 * PADDING, device="meta")
    anchors = outline.detection_head.make_anchors((2 * PADDING, 2 * PADDING), image.device)
    if outline(image).logits.shape[1] != sum(map(len, anchors)):
        raise ValueError(
            f"{source}: its maps are not at 1/8, 1/16 and 1/32 of the image, where the anchors are"
        )
