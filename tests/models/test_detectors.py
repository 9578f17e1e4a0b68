"""Detectors against the paper's Table 6, closed forms, and torchvision's own RetinaNet."""

import copy
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import load
from lemore.models.detection_heads.retinanet import LEVELS, Outputs
from lemore.models.detector import PADDING, Detector, build_detector
from lemore.models.key_map import convert
from lemore.models.torchvision_weights import find_key_map
from lemore.profiling.counts import count
from lemore.reporting.tables import paper
from tests.networks import CONFIG, DETECTORS, awaken, configs, images

PAPER_SIZE = (800, 1333)
CLASSES = 5


def detector(name: str, size=(128, 128), classes: int = CLASSES, **overrides) -> Detector:
    """overrides: arguments of its head."""
    model, backbone = configs(name)
    torch.manual_seed(0)
    return build_detector(
        model,
        backbone,
        num_classes=classes,
        input_size=size,
        drop_path=0.0,
        overrides=overrides,
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    former = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(former)


def measure(name: str, size: tuple[int, int]) -> tuple[float, float]:
    """Parameters in millions with mixing matrices for `size`, GMACs of an image of that size."""
    with torch.device("meta"):
        counts = count(detector(name, size, 80), size)
    return counts.params / 1e6, counts.macs / 1e9


@pytest.mark.parametrize("row", paper.list_rows("6"), ids=lambda row: row.model)
def test_counts_are_those_of_table_6(row):
    params, macs = measure(row.model, PAPER_SIZE)
    assert round(params, 1) == float(row.params_m)
    assert round(macs) == float(row.gflops)


def test_counts_of_lemore_depend_on_its_matrices_and_topformers_is_published():
    assert measure("retinanet_lemore", (512, 512))[0] == pytest.approx(10.791, abs=5e-4)
    assert measure("retinanet_lemore", PAPER_SIZE)[0] == pytest.approx(10.949, abs=5e-4)
    assert measure("retinanet_topformer_t", PAPER_SIZE)[0] == pytest.approx(10.588, abs=5e-4)


def test_anchors_lie_at_the_true_strides():
    """Row i, column j of level n: centre (j 2^n, i 2^n), roots of areas 4 2^n 2^(k/3), rounded."""
    anchors = detector("retinanet_shufflenet_v2").detection_head.make_anchors(
        PAPER_SIZE, torch.device("cpu")
    )
    for level, boxes in zip(LEVELS, anchors, strict=True):
        stride = 2**level
        rows, columns = -(-PAPER_SIZE[0] // stride), -(-PAPER_SIZE[1] // stride)
        grid = boxes.view(rows, columns, 9, 4)
        centres = (grid[..., :2] + grid[..., 2:]) / 2
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        expected = stride * torch.stack([x, y], dim=-1)[:, :, None].float()
        torch.testing.assert_close(centres, expected.expand_as(centres), rtol=0, atol=0)
        sides = grid[0, 0, :, 2:] - grid[0, 0, :, :2]
        octaves = torch.tensor([4 * stride * 2 ** (k / 3) for k in range(3)])
        torch.testing.assert_close(sides.prod(1).sqrt(), octaves.repeat(3), rtol=0.02, atol=0)
        ratios = torch.tensor([0.5, 1.0, 2.0]).repeat_interleave(3)
        torch.testing.assert_close(sides[:, 1] / sides[:, 0], ratios, rtol=0.05, atol=0)


@pytest.mark.parametrize(("size", "same"), [((896, 1408), True), (PAPER_SIZE, False)])
def test_torchvision_agrees_on_anchors_where_sides_are_multiples_of_128(size, same):
    head = detector("retinanet_shufflenet_v2").detection_head
    ours = torch.cat(head.make_anchors(size, torch.device("cpu")))
    maps = [torch.empty(1, 1, -(-size[0] // 2**n), -(-size[1] // 2**n)) for n in LEVELS]
    (theirs,) = head.anchor_generator(ImageList(torch.empty(1, 3, *size), [size]), maps)
    assert ours.shape == theirs.shape and torch.equal(ours, theirs) == same


def test_anchors_are_scaled_by_the_smallest():
    small, usual = (
        torch.cat(detector("retinanet_shufflenet_v2", **given).detection_head.make_anchors(
            (128, 128), torch.device("cpu")
        ))
        for given in ({"smallest_anchor": 16}, {})
    )  # fmt: skip
    sides = (small[:, 2:] - small[:, :2], usual[:, 2:] - usual[:, :2])
    torch.testing.assert_close(2 * sides[0], sides[1], rtol=0, atol=4)  # both are rounded
    torch.testing.assert_close(small[:, :2] + small[:, 2:], usual[:, :2] + usual[:, 2:])
    with pytest.raises(ValueError, match="smallest_anchor is 12, expected one of 8, 16, 32, 64"):
        detector("retinanet_shufflenet_v2", smallest_anchor=12)


def test_the_best_overlap_is_that_of_boxes_around_one_centre():
    head = detector("retinanet_shufflenet_v2").detection_head
    anchors = torch.cat(head.make_anchors((512, 512), torch.device("cpu")))
    sides = torch.tensor([[32.0, 32.0], [10.0, 12.0], [45.0, 23.0], [700.0, 100.0]])
    at = torch.tensor([256.0, 256.0])  # the centre of an anchor of every level
    found = box_iou(torch.cat([at - sides / 2, at + sides / 2], 1), anchors).amax(1)
    torch.testing.assert_close(head.overlap_anchors(sides), found)
    assert head.overlap_anchors(sides)[0] == 1 and found[1] < 0.5 < found[2]


def test_group_norms_are_those_of_torchvisions_second_retinanet():
    theirs = detection.retinanet_resnet50_fpn_v2(weights=None, weights_backbone=None).head
    ours = detector("retinanet_shufflenet_v2", norm="group").detection_head.head
    for name in ("classification_head.conv", "regression_head.conv"):
        pair = [str(head.get_submodule(name)) for head in (ours, theirs)]
        assert pair[0] == pair[1] and "GroupNorm(32, 256" in pair[0]


class Maps(nn.Module):
    """The pyramid's levels as torchvision's RetinaNet takes them."""

    out_channels = 256

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        c3, c4, c5 = self.network.backbone(x)[-3:]
        return self.network.detection_head.pyramid({"p3": c3, "p4": c4, "p5": c5})


@pytest.fixture(scope="module")
def pair() -> tuple[Detector, detection.RetinaNet]:
    """Ours and torchvision's with the same weights, and unsure enough to find many boxes."""
    ours = awaken(detector("retinanet_shufflenet_v2")).eval()
    classifier = ours.detection_head.head.classification_head
    nn.init.normal_(classifier.cls_logits.weight, 0, 0.1)
    nn.init.constant_(classifier.cls_logits.bias, -2.0)
    nn.init.normal_(ours.detection_head.head.regression_head.bbox_reg.weight, 0, 0.1)
    theirs = detection.RetinaNet(
        Maps(ours),
        CLASSES,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        detections_per_img=100,
        size_divisible=PADDING,
        min_size=1000,
        max_size=PADDING,  # the long side of both photos: nothing is resized
    )
    theirs.head.load_state_dict(ours.detection_head.head.state_dict())
    return ours, theirs.eval()


SIZES = [(100, 128), (128, 90)]
BOXES = [torch.tensor([[10.0, 12, 60, 70], [5, 5, 25, 20], [60, 30, 120, 95]]), torch.zeros(0, 4)]
IDS = [torch.tensor([0, 3, 4]), torch.zeros(0, dtype=torch.int64)]


def pad(photos: list[Tensor]) -> Tensor:
    padded = torch.zeros(len(photos), 3, PADDING, PADDING)
    for row, photo in zip(padded, photos, strict=True):
        row[:, : photo.shape[1], : photo.shape[2]] = photo
    return padded


def test_losses_are_torchvisions_an_image_without_boxes_included(pair):
    ours, theirs = pair
    photos = [images(1, size)[0] for size in SIZES]
    targets = [{"boxes": b, "labels": c} for b, c in zip(BOXES, IDS, strict=True)]
    theirs.training = True  # BatchNorm stays as in evaluation
    losses = theirs([photo.clone() for photo in photos], targets)
    theirs.training = False
    loss = ours.detection_head.loss(ours(pad(photos)), (PADDING, PADDING), BOXES, IDS)
    torch.testing.assert_close(loss, sum(losses.values()))


def test_boxes_are_torchvisions_and_end_at_the_original_size(pair):
    ours, theirs = pair
    photos = [images(1, size)[0] for size in SIZES]
    with torch.inference_mode():
        expected = theirs([photo.clone() for photo in photos])
        outputs = ours(pad(photos))
        found = ours.detection_head.detect(outputs, (PADDING, PADDING), SIZES, SIZES)
        twice = [(2 * height, 3 * width) for height, width in SIZES]
        large = ours.detection_head.detect(outputs, (PADDING, PADDING), SIZES, twice)
    for one, big, wanted, (height, width) in zip(found, large, expected, SIZES, strict=True):
        assert len(one.boxes) == 100
        torch.testing.assert_close(one.boxes, wanted["boxes"])
        torch.testing.assert_close(one.scores, wanted["scores"])
        assert torch.equal(one.classes, wanted["labels"])
        assert (one.boxes >= 0).all() and (one.boxes[:, 2:] <= torch.tensor([width, height])).all()
        torch.testing.assert_close(big.boxes, one.boxes * torch.tensor([3.0, 2, 3, 2]))


def test_one_sure_anchor_is_one_box():
    head = detector("retinanet_shufflenet_v2").detection_head
    anchors = torch.cat(head.make_anchors((128, 256), torch.device("cpu")))
    logits, offsets = torch.full((1, len(anchors), CLASSES), -9.0), torch.zeros(1, len(anchors), 4)
    chosen = 9 * (7 * 32 + 11) + 3  # row 7, column 11 of P3: a square of 32 pixels
    logits[0, chosen, 2] = 0.0
    outputs = Outputs(logits, offsets)
    assert head.select(outputs, (128, 256)).boxes.tolist() == [[72.0, 40.0, 104.0, 72.0]]
    (found,) = head.detect(outputs, (128, 256), [(100, 200)], [(50, 100)])
    assert found.boxes.tolist() == [[36.0, 20.0, 52.0, 36.0]]
    assert (found.classes.tolist(), found.scores.tolist()) == ([2], [0.5])


@pytest.mark.parametrize("name", DETECTORS)
def test_every_parameter_learns(name):
    network = awaken(detector(name)).train()
    boxes, ids = [BOXES[0], BOXES[0] + 3], [IDS[0], IDS[0]]
    size = (128, 256)  # not that of the mixing matrices
    network.detection_head.loss(network(images(2, size)), size, boxes, ids).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, key
    assert {key.split(".")[0] for key in network.state_dict()} == {"backbone", "detection_head"}


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("size", [PAPER_SIZE, (896, 1408), (64, 96), (375, 500)])
def test_there_is_an_output_for_every_anchor_at_any_size(name, size):
    with torch.device("meta"):
        network = detector(name, PAPER_SIZE).eval()
        outputs = network(torch.empty(1, 3, *size))
    anchors = network.detection_head.make_anchors(size, torch.device("meta"))
    number = sum(map(len, anchors))
    assert outputs.logits.shape == (1, number, CLASSES) and outputs.offsets.shape == (1, number, 4)


def build(model: ModelConfig, backbone: str) -> Detector:
    chosen = load(BackboneConfig, CONFIG / f"backbones/{backbone}.yaml")
    with torch.device("meta"):
        return build_detector(
            replace(model, backbone=backbone),
            chosen,
            num_classes=CLASSES,
            input_size=(128, 128),
            drop_path=0.0,
            overrides={},
        )


@pytest.mark.parametrize("backbone", ["mit_b0", "mscan_t", "stdc1", "convmlp_s", "lemore_t"])
def test_any_backbone_of_three_scales_serves(backbone):
    named = "retinanet_lemore" if backbone.startswith("lemore") else "retinanet_shufflenet_v2"
    assert build(configs(named)[0], backbone).detection_head.head is not None


@pytest.mark.parametrize(
    ("name", "backbone", "words"),
    [
        ("retinanet_shufflenet_v2", "mobilenet_v3_large", "not at 1/8, 1/16 and 1/32"),
        ("retinanet_shufflenet_v2", "lemore", "not at 1/8, 1/16 and 1/32"),
        ("retinanet_lemore", "shufflenet_v2_x1_0", "fusion is sigmoid, but the backbone's maps of"),
        ("retinanet_lemore", "mit_b0", "not at 1/8, 1/16 and 1/32"),  # its widths add up by chance
        ("lemore", "lemore", "it segments, and has no detection_head"),
    ],
)
def test_what_does_not_fit_is_refused(name, backbone, words):
    with pytest.raises(ValueError, match=words):
        build(configs(name)[0], backbone)


@pytest.mark.parametrize(
    ("name", "module", "source"),
    [
        ("retinanet_mobilenet_v3", "mobilenet_v3_os32", "mobilenet_v3_large"),
        ("retinanet_shufflenet_v2", "shufflenet_v2", "shufflenet_v2_x1_0"),
    ],
)
def test_backbones_take_torchvisions_weights(name, module, source):
    state = getattr(torchvision_models, source)().state_dict()
    target = detector(name).backbone
    assert configs(name)[1].module == module
    fitted = convert(state, find_key_map(module), target.state_dict(), source)
    copy.deepcopy(target).load_state_dict(fitted)
