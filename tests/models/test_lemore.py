"""LeMoRe against its paper's numbers and against independent ways to compute the same maps."""

import logging
import math

import pytest
import torch
import torch.nn.functional as F

from lemore.models import build_backbone
from lemore.models.axis_mixing import make_resize_operator
from lemore.models.backbones.lemore import CEncoder, NestedAttention
from lemore.models.classifier import build_classifier
from lemore.models.fold import fold
from lemore.models.layers import DropPath
from lemore.profiling.counts import count
from tests.networks import awaken, configs, conv_norm, images, on_meta, segmentor

SQUARE = (512, 512)
# name, size (H, W), classes, overrides -> parameters (exact), MACs in millions (0.1 %)
SPECIFIED = [
    ("lemore_t", SQUARE, 150, {}, 1_119_878, 688.8),
    ("lemore_tf", SQUARE, 150, {}, 1_141_638, 733.2),
    ("lemore_tfl", SQUARE, 150, {}, 1_163_398, 777.7),
    ("lemore_tfl_ca", SQUARE, 150, {}, 1_222_390, 777.7),
    ("lemore_t_na", SQUARE, 150, {}, 1_497_350, 714.2),
    ("lemore_tf_na", SQUARE, 150, {}, 1_519_110, 758.7),
    ("lemore_tfl_na", SQUARE, 150, {}, 1_540_870, 803.1),
    ("lemore_tfl_ca_na", SQUARE, 150, {}, 1_599_862, 803.16),
    ("lemore", SQUARE, 150, {}, 1_599_862, 803.16),
    ("lemore", (448, 448), 150, {}, 1_589_662, 606.0),
    ("lemore", (512, 1024), 19, {"fuse": "dense"}, 1_664_499, 1694.0),
    ("lemore", (480, 480), 60, {}, 1_582_982, 668.5),
    ("lemore", SQUARE, 171, {}, 1_602_571, 814.0),
]
# Table 2 of the paper: parameters (M), GFLOPs
PUBLISHED = {
    "lemore_t": (1.12, 0.68),
    "lemore_tf": (1.14, 0.74),
    "lemore_tfl": (1.16, 0.78),
    "lemore_tfl_ca": (1.22, 0.79),
    "lemore_t_na": (1.50, 0.70),
    "lemore_tf_na": (1.52, 0.76),
    "lemore_tfl_na": (1.54, 0.80),
    "lemore_tfl_ca_na": (1.60, 0.81),
}


@pytest.mark.parametrize(("name", "size", "classes", "overrides", "params", "macs"), SPECIFIED)
def test_specified_counts(name, size, classes, overrides, params, macs):
    measured = count(on_meta(name, size, classes, **overrides), size)
    assert measured.params == params
    assert measured.macs / 1e6 == pytest.approx(macs, rel=1e-3)


def test_imagenet_classifier_counts():
    with torch.device("meta"):
        model = build_classifier(
            configs("lemore")[1], num_classes=1000, input_size=(224, 224), drop_path=0.0
        )
    measured = count(model, (224, 224))
    assert measured.params == 1_670_994
    assert round(measured.macs / 1e9, 3) == 0.125


@pytest.mark.parametrize("name", PUBLISHED)
def test_ablation_rows_agree_with_the_paper(name):
    measured = count(on_meta(name, SQUARE, 150), SQUARE)
    params, gflops = PUBLISHED[name]
    assert round(measured.params / 1e6, 2) == params
    assert abs(round(measured.macs / 1e9, 2) - gflops) < 0.01 + 1e-9


def test_checkpoint_moves_to_another_training_size(caplog):
    _, backbone = configs("lemore")
    source = awaken(build_classifier(backbone, num_classes=3, input_size=(96, 64), drop_path=0.0))
    target = build_backbone(
        "lemore", backbone.arguments, input_size=(128, 160), drop_path=0.1
    ).eval()
    kept = {k: v.clone() for k, v in source.backbone.state_dict().items()}
    with caplog.at_level(logging.INFO):
        target.load_state_dict(source.backbone.state_dict())
    assert "stages.0.3.frontal.weight: 16 x 16 carried over to 40" in caplog.text
    for key, value in target.state_dict().items():
        old = kept[key]
        assert torch.equal(source.backbone.state_dict()[key], old), "the source must not change"
        if old.shape == value.shape:
            assert torch.equal(value, old), key
            continue
        up, down = (
            torch.from_numpy(make_resize_operator(a, b)).float()
            for a, b in ((len(value), len(old)), (len(old), len(value)))
        )
        torch.testing.assert_close(value, up @ old @ down)


def test_moved_checkpoint_computes_what_the_source_does_at_that_size():
    source = awaken(segmentor("lemore", size=(96, 64))).eval()
    target = segmentor("lemore", size=(128, 160)).eval()
    target.load_state_dict(source.state_dict())
    x = images(1, (128, 160))
    with torch.inference_mode():
        torch.testing.assert_close(target(x), source(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("softmax", ["sum", "mean_of_nine"])
def test_nested_attention_equals_its_nine_products(softmax):
    torch.manual_seed(0)
    attention = awaken(NestedAttention(24, softmax).double()).eval()
    x = torch.randn(2, 24, 3, 4, dtype=torch.float64)
    b, n, heads = 2, 12, 4
    flat = attention.projections(x).reshape(b, 3, 128, n)
    q = [flat[:, i, :32].reshape(b, heads, 8, n) for i in range(3)]
    k = [flat[:, i, 32:64].reshape(b, heads, 8, n) for i in range(3)]
    v = [flat[:, i, 64:].reshape(b, heads, 16, n) for i in range(3)]
    products = [torch.einsum("bhdi,bhdj->bhij", qi, kj) for qi in q for kj in k]
    if softmax == "sum":
        psi = (sum(products) / (3 * math.sqrt(8))).softmax(-1)
    else:
        psi = sum((p / math.sqrt(8)).softmax(-1) for p in products) / 9
    mixed = sum(torch.einsum("bhij,bhdj->bhdi", psi, vt) for vt in v)
    expected = attention.output(mixed.reshape(b, 64, 3, 4).clamp(0, 6))
    with torch.no_grad():
        torch.testing.assert_close(attention(x), expected.detach(), rtol=0, atol=1e-10)


def test_fold_replaces_nine_projections_by_three():
    model = awaken(segmentor("lemore")).eval()
    folded = fold(model)
    fewer = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in folded.parameters())
    assert fewer == 4 * (80_640 - (208 * 128 + 128))  # 213k less: architecture section 4
    assert fold(folded) is not folded
    x = images(1, (128, 96))
    with torch.inference_mode():
        expected = model(x)
        scale = expected.std().item()
        torch.testing.assert_close(folded(x), expected, rtol=0, atol=1e-5 * scale)
        assert torch.equal(fold(folded)(x), folded(x))


def test_fold_keeps_nine_softmaxes():
    attention = NestedAttention(24, "mean_of_nine").eval()
    assert fold(attention).folded is None


def test_c_encoder_starts_without_mixing_and_with_its_shortcut():
    torch.manual_seed(0)
    encoder = CEncoder(8, (6, 10), "tfl", channel_attention=True).eval()
    assert not encoder.frontal.weight.any()
    assert not encoder.lateral.weight.any()
    assert encoder.frontal.weight.shape == (10, 10)
    assert encoder.lateral.weight.shape == (6, 6)
    torch.nn.init.zeros_(encoder.depthwise[3].bn.weight)
    x = torch.randn(2, 8, 6, 10)
    assert torch.equal(encoder(x), x)


@torch.no_grad()
def test_c_encoder_follows_its_equations():
    torch.manual_seed(0)
    encoder = awaken(CEncoder(8, (6, 10), "tfl", channel_attention=True)).eval().double()
    x = torch.randn(2, 8, 6, 10, dtype=torch.float64)
    t = torch.einsum("oc,bchw->bohw", encoder.transverse.weight[:, :, 0, 0], x)
    f = torch.einsum("vw,bchw->bchv", encoder.frontal.weight, x)
    v = torch.einsum("gh,bchw->bcgw", encoder.lateral.weight, x)
    z = encoder.bn(t + f + v).relu()
    one, two, three, four = encoder.depthwise
    z = conv_norm(z, one, groups=8, padding=(1, 0))
    z = conv_norm(z, two, groups=8, padding=(0, 1)).relu()
    z = conv_norm(z, three, groups=8, padding=(2, 0), dilation=2)
    z = conv_norm(z, four, groups=8, padding=(0, 2), dilation=2).relu()
    hidden = encoder.attention.expand(z.mean((2, 3))).relu()
    gate = encoder.attention.reduce(hidden).sigmoid()
    expected = x + gate[:, :, None, None] * z
    torch.testing.assert_close(encoder(x), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_head_follows_its_equations():
    model = awaken(segmentor("lemore")).eval().double()
    head = model.decode_head
    *maps, tokens = model.backbone(images(1, (128, 96)).double())

    def up(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)

    maps[0] = F.avg_pool2d(maps[0], 2)
    total = torch.zeros(())
    for fusion, local, part in zip(
        head.fusions, maps, tokens.split([16, 32, 64, 96], dim=1), strict=True
    ):
        gate = up(conv_norm(part, fusion.gate).sigmoid(), local)
        fused = conv_norm(local, fusion.local) * gate + up(conv_norm(part, fusion.embedding), local)
        total = total + up(fused, maps[1])
    expected = head.classifier(conv_norm(total, head.fuse, groups=128).relu())
    torch.testing.assert_close(head((*model.backbone(images(1, (128, 96)).double()),)), expected)


def test_matrix_sizes_follow_the_training_size():
    model = segmentor("lemore", size=(480, 1024))
    assert [len(stage[-1].lateral.weight) for stage in model.backbone.stages] == [120, 60, 30, 15]
    assert [len(stage[-1].frontal.weight) for stage in model.backbone.stages] == [256, 128, 64, 32]


def test_attention_branch_starts_silent():
    model = segmentor("lemore")
    assert all(not block.attention.output.bn.weight.any() for block in model.backbone.blocks)


def test_drop_path_rates_and_scaling():
    for name in ("lemore", "topformer_t"):
        blocks = segmentor(name, drop_path=0.3).backbone.blocks
        assert [b.drop_path.rate for b in blocks] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    stages = segmentor("segformer_b0", drop_path=0.7).backbone.stages
    rates = [block.drop_path.rate for stage in stages for block in stage.blocks]
    assert rates == pytest.approx([i / 10 for i in range(8)])

    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    y = drop(torch.ones(4000, 2, 1, 1))
    assert torch.equal(y[:, 0], y[:, 1]), "a sample's branch is dropped whole"
    assert y.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(drop.eval()(torch.ones(3, 2)), torch.ones(3, 2))


@pytest.mark.parametrize("size", [(480, 640), (375, 500), (64, 64)])
def test_runs_at_any_image_size(size):
    model = awaken(segmentor("lemore", size=(128, 128))).eval()
    with torch.inference_mode():
        logits = model(images(1, size))
    assert logits.shape == (1, 7, -(-size[0] // 8), -(-size[1] // 8))
    assert torch.isfinite(logits).all()


def test_exports_with_its_matrices_at_another_size():
    model = awaken(segmentor("lemore", size=(128, 128))).eval()
    x = images(1, (64, 96))
    program = torch.export.export(model, (x,))
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-4)
