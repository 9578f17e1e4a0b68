"""RetinaNet: a feature pyramid, and two heads of four convolutions that all levels share.

"Focal Loss for Dense Object Detection" (ICCV 2017). Pyramid, heads, anchors, matching, losses and
suppression are torchvision's; docs/reconstruction.md lists how they differ from mmdetection's.
The anchors lie at the true strides 8 to 128: torchvision itself divides the input's size by the
map's, which at a height of 800 gives 61 and 114 in place of 64 and 128.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import retinanet
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops.boxes import clip_boxes_to_image, nms
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

from lemore.config.size import Size
from lemore.models.head import Channels, GatedFusion
from lemore.models.layers import halve, initialize_weights

WIDTH = 256  # of all levels
FUSED_WIDTH = 128  # of the gated fusion's maps
LEVELS = (3, 4, 5, 6, 7)  # level n has stride 2^n
SHAPES = (0.5, 1.0, 2.0)  # height over width of the anchors
GATES = {"sigmoid": torch.sigmoid, "hard_sigmoid": F.hardsigmoid}


class Outputs(NamedTuple):
    """logits: B A K, before the sigmoid. offsets: B A 4, of the boxes from the A anchors."""

    logits: Tensor
    offsets: Tensor


class Detections(NamedTuple):
    """Boxes found in an image, the surest first.

    boxes: N 4 float32, x1 y1 x2 y2 in pixels. classes: N int64, train ids. scores: N float32.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor


class RetinaNet(nn.Module):
    """Maps, the last three of which are at 1/8, 1/16 and 1/32 -> `Outputs`.

    fusion: the gate of a fusion of these maps with a backbone's tokens at 1/64 (LeMoRe, TopFormer);
        the maps are then the three before the tokens, and the pyramid takes the fused ones.
    p6: whether the level at 1/64 is made from the coarsest map, the pyramid's input, or from P5,
        its output.
    smallest_anchor: side in pixels of the smallest square anchor, at stride 8. An object is learnt
        by anchors that overlap it by half, so small ones need small anchors.
    norm: of the heads' convolutions. `group` is that of torchvision's retinanet_resnet50_fpn_v2.
    """

    # They read the attributes that __init__ sets.
    compute_losses: Any = retinanet.RetinaNet.compute_loss
    postprocess: Any = retinanet.RetinaNet.postprocess_detections

    def __init__(
        self,
        channels: Channels,
        num_classes: int,
        fusion: Literal["none", "sigmoid", "hard_sigmoid"],
        p6: Literal["input", "output"],
        smallest_anchor: Literal[8, 16, 32, 64] = 32,
        norm: Literal["none", "group"] = "none",
    ) -> None:
        super().__init__()
        widths = list(channels[-3:])
        self.split = list(channels[:-1])
        self.fusions = None
        if fusion != "none":
            if sum(self.split) != channels[-1]:
                raise ValueError(
                    f"fusion is {fusion}, but the backbone's maps of {channels} channels end in "
                    "no tokens; expected none"
                )
            gated = (GatedFusion(c, FUSED_WIDTH, GATES[fusion]) for c in self.split[-3:])
            self.fusions = nn.ModuleList(gated).apply(initialize_weights)
            widths = [FUSED_WIDTH] * 3
        extra = LastLevelP6P7(WIDTH if p6 == "output" else widths[-1], WIDTH)
        extra.use_P5 = p6 == "output"
        self.pyramid = FeaturePyramidNetwork(widths, WIDTH, extra)
        bases = [smallest_anchor * 2**level for level in range(len(LEVELS))]
        sides = tuple(tuple(int(base * 2 ** (k / 3)) for k in range(3)) for base in bases)
        self.anchor_generator = AnchorGenerator(sides, (SHAPES,) * len(LEVELS))
        anchors = self.anchor_generator.num_anchors_per_location()[0]
        norms = partial(nn.GroupNorm, 32) if norm == "group" else None
        self.head = retinanet.RetinaNetHead(WIDTH, anchors, num_classes, norms)
        self.proposal_matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
        self.box_coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self.score_thresh, self.nms_thresh = 0.05, 0.5
        self.topk_candidates, self.detections_per_img = 1000, 100  # of a level, of an image

    def forward(self, features: tuple[Tensor, ...]) -> Outputs:
        maps = features[-3:]
        if self.fusions is not None:
            *maps, tokens = features[-4:]
            parts = tokens.split(self.split, dim=1)[-3:]
            fused = zip(self.fusions, maps, parts, strict=True)
            maps = [fuse(local, part) for fuse, local, part in fused]
        levels = self.pyramid(dict(zip(("p3", "p4", "p5"), maps, strict=True)))
        found = self.head(list(levels.values()))
        return Outputs(found["cls_logits"], found["bbox_regression"])

    def make_anchors(self, size: Size, device: torch.device) -> list[Tensor]:
        """Returns each level's anchors for an input of `size`: A 4, x1 y1 x2 y2 in its pixels."""
        generator: Any = self.anchor_generator
        generator.set_cell_anchors(torch.float32, device)
        grids = [halve(size, level) for level in LEVELS]
        return generator.grid_anchors(grids, [(2**level, 2**level) for level in LEVELS])

    def overlap_anchors(self, sides: Tensor) -> Tensor:
        """Returns the IoU of each box with the most similar anchor, if it lay at the box's centre.

        sides: N 2, width and height in pixels of the input.
        """
        generator: Any = self.anchor_generator
        generator.set_cell_anchors(torch.float32, sides.device)
        shapes = torch.cat(generator.cell_anchors)
        shapes = shapes[:, 2:] - shapes[:, :2]
        shared = torch.minimum(sides[:, None], shapes).prod(-1)
        joined = sides.prod(-1, keepdim=True) + shapes.prod(-1) - shared
        return (shared / joined).amax(1)

    def loss(
        self, outputs: Outputs, size: Size, boxes: Sequence[Tensor], classes: Sequence[Tensor]
    ) -> Tensor:
        """Returns the scalar that training minimises: focal loss and L1 loss of the offsets.

        size: (H, W) of the padded input. boxes, classes: of each image, N 4 x1 y1 x2 y2 in the
        input's pixels, of positive width and height, and N int64 train ids; regions of crowds are
        left out. An image without boxes is all background.
        """
        pairs = zip(boxes, classes, strict=True)
        targets = [{"boxes": one, "labels": ids} for one, ids in pairs]
        anchors = torch.cat(self.make_anchors(size, outputs.logits.device))
        found = {
            "cls_logits": outputs.logits.float(),
            "bbox_regression": outputs.offsets.float(),
        }
        losses = self.compute_losses(targets, found, [anchors] * len(targets))
        return losses["classification"] + losses["bbox_regression"]

    def select(self, outputs: Outputs, size: Size) -> Detections:
        """Returns what `detect` finds in one image that fills an input of `size`, in operations
        that an exported graph can have: torchvision's choose by the number of boxes."""
        found = []
        anchors = self.make_anchors(size, outputs.logits.device)
        counts = [len(level) for level in anchors]
        columns = (outputs.logits[0].split(counts), outputs.offsets[0].split(counts))
        for level, logits, offsets in zip(anchors, *columns, strict=True):
            most = min(self.topk_candidates, logits.numel())
            scores, best = logits.sigmoid().flatten().topk(most)
            places, classes = best // logits.shape[1], best % logits.shape[1]
            boxes = self.box_coder.decode_single(offsets[places], level[places])
            found.append((clip_boxes_to_image(boxes, size), classes, scores))
        boxes, classes, scores = (torch.cat(column) for column in zip(*found, strict=True))
        sure = torch.nonzero(scores > self.score_thresh)[:, 0]
        boxes, classes, scores = boxes[sure], classes[sure], scores[sure]
        apart = boxes + (classes * (max(size) + 1.0))[:, None]  # so that classes do not overlap
        kept = nms(apart, scores, self.nms_thresh)[: self.detections_per_img]
        return Detections(boxes[kept], classes[kept], scores[kept])

    def detect(
        self, outputs: Outputs, size: Size, valid: Sequence[Size], original: Sequence[Size]
    ) -> list[Detections]:
        """Returns what is found in each image, in pixels of the original image.

        size: (H, W) of the padded input; valid: of each image within it; original: before resizing.
        """
        anchors = self.make_anchors(size, outputs.logits.device)
        counts = [len(level) for level in anchors]
        levels = {
            "cls_logits": outputs.logits.float().split(counts, dim=1),
            "bbox_regression": outputs.offsets.float().split(counts, dim=1),
        }
        found = self.postprocess(levels, [anchors] * len(valid), valid)
        return [
            Detections(resize_boxes(one["boxes"], list(of), list(to)), one["labels"], one["scores"])
            for one, of, to in zip(found, valid, original, strict=True)
        ]


build = RetinaNet
