"""One contract for every model that segments: what training, evaluation and export rely on.

A new model is tested without any change here, since models are found by their files.
"""

import copy
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lemore import models
from lemore.config.jobs import FinetuneJob
from lemore.config.model import BackboneConfig
from lemore.config.read import build, load, plain
from lemore.config.recipe import Train
from lemore.config.recipe_files import load_recipe
from lemore.evaluation.metrics import Confusion
from lemore.evaluation.upsample import Pass, Window, label_passes
from lemore.models.classifier import build_classifier
from lemore.models.fold import bake, fold
from lemore.models.layers import DropPath
from lemore.models.segmentor import build_segmentor, make_model
from lemore.profiling import export
from lemore.runtime import checkpoint
from lemore.stages.workers.finetune import Loss, group_parameters
from lemore.trained.exported import open_file
from lemore.trained.find import read_trained
from lemore.training import optim
from lemore.training.loop import TrainingLoop
from tests.networks import CONFIG, DETECTORS, SIZE, awaken, configs, conv_norm, images, segmentor
from tests.networks import SEGMENTORS as MODELS

# Kinds of which a smaller one is there; `make test-slow` has them all.
HEAVY = {
    *("metaseg_b", "pem_stdc2", "seaformer_b", "seaformer_s", "topformer_b", "topformer_s"),
    *("lemore_448", "lemore_tf_na", "lemore_tfl_ca", "lemore_tfl_na", "topformer_t_448"),
    *("deeplabv3plus_efficientnet_b0", "deeplabv3plus_shufflenet_v2_x1_5", "lite_aspp_resnet18"),
    *("lite_aspp_mobilenet_v2", "lraspp_mobilenet_v2", "lraspp_mobilenet_v3_large"),
    *("lraspp_mobilenet_v3_large_reduced", "pspnet_mobilenet_v2"),
}
FIVE = (
    "fuse.conv.weight",
    "fuse.bn.weight",
    "fuse.bn.bias",
    "classifier.weight",
    "classifier.bias",
)


STRIDES = {  # of the logits, by published decode head; the encoder decides where None
    "deeplabv3plus": 4,
    "fcn": None,
    "feedformer": 4,
    "lemore": 8,
    "lraspp": 8,
    "metaseg": 8,
    "pem": 4,
    "pspnet": None,
    "raspp": None,
    "seaformer": 8,
    "segformer": 4,
    "segnext": 8,
    "semantic_fpn": 4,
    "topformer": 8,
    "umixformer": 4,
}
ENCODER_STRIDES = {"mobilenet_v2_os8": 8, "mobilenet_v2_os16": 16, "hrnet_w18_small": 4}


def stride(name: str, logits: torch.Tensor, size: tuple[int, int]) -> int:
    """That of the logits of images of `size`; the published one, where the head has one."""
    found = round(size[0] / logits.shape[2])
    model, _ = configs(name)
    if model.decode_head in STRIDES:
        assert found == (STRIDES[model.decode_head] or ENCODER_STRIDES[model.backbone])
    return found


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Maps are small here: more threads only wait for one another."""
    former = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(former)


def test_mobilenet_v2_of_stride_8_is_dilated_as_mmsegmentation_publishes_it():
    """strides=(1, 2, 2, 1, 1, 1, 1), dilations=(1, 1, 1, 2, 2, 4, 4), of first blocks alone."""
    stages = zip((1, 2, 3, 4, 3, 3, 1), (1, 2, 2, 1, 1, 1, 1), (1, 1, 1, 2, 2, 4, 4), strict=True)
    published = [
        pair for blocks, *first in stages for pair in [tuple(first)] + [(1, 1)] * (blocks - 1)
    ]
    convs = [m for m in segmentor("fcn_mobilenet_v2").backbone.modules() if hasattr(m, "groups")]
    ours = [(conv.stride[0], conv.dilation[0]) for conv in convs if conv.groups > 1]
    assert ours == published


def test_convmlp_hands_on_what_its_blocks_receive():
    """The published encoder for segmentation: tokens, inputs of two stages, output of the last."""
    encoder = segmentor("semantic_fpn_convmlp_s").backbone.eval()
    maps = encoder(images(1, SIZE))
    tokens = encoder.tokenizer(images(1, SIZE))
    x, expected = encoder.conv_blocks(tokens), [tokens]
    for shrink, stage in zip(encoder.downsamples, encoder.stages, strict=True):
        expected.append(shrink(x))
        x = stage(expected[-1].movedim(1, -1)).movedim(-1, 1)
    for ours, published in zip(maps, [*expected[:-1], x], strict=True):
        torch.testing.assert_close(ours, published)


@pytest.mark.parametrize("name", MODELS)
def test_shapes_channels_and_head_parameters(name):
    model = segmentor(name)
    config, _ = configs(name)
    parts = {"backbone", "decode_head"} | ({"auxiliary_head"} if config.auxiliary_head else set())
    assert {key.split(".")[0] for key in model.state_dict()} == parts
    maps = model.backbone(images(2, SIZE))
    assert tuple(m.shape[1] for m in maps) == model.backbone.channels
    heights = [m.shape[-2] for m in maps]
    assert heights == sorted(heights, reverse=True)
    logits = model(images(2, SIZE))
    step = stride(name, logits, SIZE)
    assert logits.shape == (2, 7, SIZE[0] // step, SIZE[1] // step)

    groups = group_parameters(model, recipe_of(name, 1))
    (fast,) = (group["names"] for group in groups if group["lr_mult"] != 1.0)
    names = [key for key, _ in model.named_parameters() if not key.startswith("backbone.")]
    if config.decode_head in ("lemore", "topformer"):
        assert fast == [f"decode_head.{key}" for key in FIVE]
    elif hasattr(model.decode_head, "head_parameters"):
        assert fast and set(fast) <= set(names)
    else:
        assert fast == names


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [(480, 640), (375, 500), (64, 64), (1024, 2048)])
def test_any_image_size_gives_logits_at_native_stride(name, size):
    with torch.device("meta"):
        model = segmentor(name).eval()
        logits = model(torch.empty(1, 3, *size))
        step = stride(name, model(torch.empty(1, 3, *SIZE)), SIZE)
    assert logits.shape[2:] == (-(-size[0] // step), -(-size[1] // step))


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns(name):
    model = awaken(segmentor(name)).train()
    for module in model.modules():
        if isinstance(module, DropPath):
            module.rate = 0.0
    logits, auxiliary = model(images(2, SIZE), for_loss=True)
    if isinstance(logits, list):  # mask classification: what every layer predicts
        logits = torch.cat([part.flatten() for output in logits for part in output])
    total = logits.square().mean()
    if auxiliary is not None:
        total = total + auxiliary.square().mean()
    total.backward()
    learning = {key: p for key, p in model.named_parameters() if p.requires_grad}
    for key, parameter in learning.items():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    dead = [key for key, p in learning.items() if not p.grad.abs().max() > 0]
    # A key's bias adds the same to all logits of a query and cancels in the softmax.
    assert all(key.endswith("attention.key.bn.bias") for key in dead), dead
    frozen = [key for key, p in model.named_parameters() if not p.requires_grad]
    assert all(".unused_" in key for key in frozen), frozen


@pytest.mark.parametrize("name", MODELS)
def test_building_is_deterministic_and_state_round_trips(name):
    first, second = segmentor(name), segmentor(name)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
    model = awaken(first).eval()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    second.eval().load_state_dict(torch.load(file, weights_only=True))
    with torch.inference_mode():
        assert torch.equal(model(images(1, SIZE)), second(images(1, SIZE)))


@pytest.mark.parametrize("name", MODELS)
def test_channels_last_and_fold_change_nothing(name):
    model = awaken(segmentor(name)).eval().double()
    x = images(2, (112, 80)).double()  # not the training size
    with torch.inference_mode():
        expected = model(x)
        folded = fold(model)(x)
        normless = fold(fold(model, norms=True), norms=True)(x)
        copied = copy.deepcopy(model)(x)
        last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        single = copy.deepcopy(model).float()
        plain, quick = single(x.float()), fold(single)(x.float())
    torch.testing.assert_close(copied, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(last, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(folded, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(normless, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(quick, plain, rtol=0, atol=1e-5 * plain.std().item())


CROP = (128, 128)
CLASSES = 5


def recipe_of(name: str, iterations: int) -> Train:
    small = {"crop_size": list(CROP), "batch_size": 2, "iterations": iterations}
    small |= {"warmup_iterations": 1, "checkpoint_every": iterations, "validate_every": 0}
    folder = CONFIG / "recipes/scenes"
    return load_recipe(folder, "ade20k_scenes", name, {"train": {**small, "lr": 1e-3}})[0]


def squares(index: int) -> dict[str, torch.Tensor]:
    """A batch as the loader gives it: noise with a bright square of a class, some ignored."""
    generator = torch.Generator().manual_seed(index)
    image = torch.randint(0, 120, (2, 3, *CROP), generator=generator, dtype=torch.uint8)
    label = torch.zeros(2, *CROP, dtype=torch.uint8)
    for one in range(2):
        kind = 1 + (2 * index + one) % (CLASSES - 1)
        image[one, kind % 3, 20:90, 10 * kind : 10 * kind + 60] = 250
        label[one, 20:90, 10 * kind : 10 * kind + 60] = kind
    label[:, :3] = 255
    return {"image": image, "label": label, "valid": torch.tensor([CROP, CROP])}


def train(name: str, iterations: int, folder: Path) -> tuple[list[float], Path]:
    """Trains through the real loop and loss; the losses, and the checkpoint that is left."""
    model_config, backbone = configs(name)
    recipe = recipe_of(name, iterations)
    job = FinetuneJob("test", "squares", CLASSES, name, model_config, backbone, "none", recipe)
    torch.manual_seed(0)
    model = make_model(job)
    loss = Loss(job, model.decode_head, torch.device("cpu"), None)
    losses: list[float] = []

    def noted(network, batch):
        value = loss(network, batch)
        losses.append(value.item())
        return value

    groups = group_parameters(model, replace(recipe, groups={}))
    TrainingLoop(
        name=name,
        model=model,
        optimizer=optim.make_adamw(groups, recipe.betas),
        learning_rate=optim.make_schedule(recipe),
        batches=lambda start: (squares(i % 2) for i in range(start, iterations)),
        loss=noted,
        iterations=iterations,
        seed=0,
        checkpoints=checkpoint.Checkpoints(folder),
        checkpoint_every=iterations,
        record=lambda iteration, metrics: None,
        stop=lambda: False,
    ).train()
    checkpoint.save(folder / "weights.pt", {"state_dict": model.state_dict(), "config": plain(job)})
    return losses, folder / "weights.pt"


def check_trained(name: str, path: Path, exported: Path, write) -> None:
    """The checkpoint loads, predicts without NaN, and computes the same as an exported file."""
    model = read_trained(path).network()
    batch = squares(0)
    x = batch["image"][:1].float() / 60 - 2
    with torch.inference_mode():
        logits = model(x)
        assert torch.isfinite(logits).all()
    confusion = Confusion(CLASSES, 255)
    labels = label_passes([Pass([Window(0, 0, CROP, logits)], CROP)], CROP)
    confusion.update(labels, batch["label"][0].numpy())
    results = confusion.compute_measures()
    assert 0 <= results["miou"] <= 1 and np.isfinite(results["aacc"])
    write(export.Deployed(bake(fold(model, norms=True))).eval(), x, exported)
    file = open_file(exported, 1)
    with torch.inference_mode():
        scale = logits.std().item()
        torch.testing.assert_close(file(x), logits, rtol=0, atol=1e-3 * scale)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in MODELS],
)
def test_trains_loads_exports_and_evaluates(name, tmp_path):
    """torch.export, since it takes a third of the time of ONNX, which begins with it."""
    losses, path = train(name, 5, tmp_path)
    assert len(losses) == 5 and np.isfinite(losses).all()
    check_trained(name, path, tmp_path / "model.pt2", export.write_torch_export)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_learns_and_exports_as_onnx(name, tmp_path):
    losses, path = train(name, 50, tmp_path)
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:4]), losses
    check_trained(name, path, tmp_path / "model.onnx", export.write_onnx)


@pytest.mark.parametrize("name", sorted({configs(name)[0].backbone for name in MODELS}))
def test_classifier_pools_the_last_map(name):
    backbone = load(BackboneConfig, CONFIG / "backbones" / f"{name}.yaml")
    torch.manual_seed(0)
    model = build_classifier(backbone, num_classes=5, input_size=SIZE, drop_path=0.0).eval()
    assert {key.split(".")[0] for key in model.state_dict()} == {"backbone", "head"}
    with torch.inference_mode():
        last = model.backbone(images(2, SIZE))[-1]
        expected = last.flatten(2).mean(2) @ model.head.weight.T + model.head.bias
        torch.testing.assert_close(model(images(2, SIZE)), expected)


def test_models_and_backbones_belong_together():
    used = {configs(name)[0].backbone for name in [*MODELS, *DETECTORS]}
    assert used == {path.stem for path in (CONFIG / "backbones").glob("*.yaml")}
    labels = [(configs(name)[0].label, configs(name)[0].encoder) for name in MODELS]
    assert len(set(labels)) == len(labels)


def test_overrides_reach_the_head():
    model, backbone = configs("lemore")
    with torch.device("meta"):
        built = build_segmentor(
            model,
            backbone,
            num_classes=19,
            input_size=(512, 1024),
            drop_path=0.1,
            overrides={"fuse": "dense"},
        )
    assert built.decode_head.fuse.conv.groups == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"view": "tfl"}, "no argument 'view'; did you mean 'views'"),
        ({"views": "t"}, "needs the argument 'channel_attention'"),
        ({"input_size": (1, 1)}, "'input_size' is set by the run"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    source = "config/backbones/x.yaml"
    with pytest.raises(ValueError, match=f"{source}: .*{message}"):
        models.build_backbone("lemore", arguments, input_size=SIZE, drop_path=0, source=source)


def test_wrong_values_and_modules_are_named():
    with pytest.raises(ValueError, match="did you mean 'topformer'"):
        models.build_backbone("topforme", {}, input_size=SIZE, drop_path=0.0)
    with pytest.raises(ValueError, match="views is 'x', expected one of t, tf, tfl"):
        arguments = {"views": "x", "channel_attention": True, "nested_attention": True}
        models.build_backbone("lemore", arguments, input_size=SIZE, drop_path=0.0)
    with pytest.raises(ValueError, match="init is 'torchvision'"):
        build(
            BackboneConfig, {"module": "lemore", "arguments": {}, "init": "torchvision"}, "x.yaml"
        )


@torch.no_grad()
def test_topformer_attention_is_unscaled_and_its_gate_hard():
    torch.manual_seed(0)
    model = awaken(segmentor("topformer_t")).eval().double()
    attention = model.backbone.blocks[0].attention
    x = torch.randn(1, 208, 3, 2, dtype=torch.float64)
    q, k = (conv_norm(x, part).reshape(4, 16, 6) for part in (attention.query, attention.key))
    v = conv_norm(x, attention.value).reshape(4, 32, 6)
    weights = torch.einsum("hdi,hdj->hij", q, k).softmax(-1)
    mixed = torch.einsum("hij,hdj->hdi", weights, v).reshape(1, 128, 3, 2)
    torch.testing.assert_close(attention(x), conv_norm(mixed.clamp(0, 6), attention.output))

    injection = model.decode_head.injections[0]
    local, part = torch.randn(1, 32, 6, 4).double(), 4 * torch.randn(1, 32, 6, 4).double()
    gate = ((conv_norm(part, injection.gate) + 3) / 6).clamp(0, 1)
    expected = conv_norm(local, injection.local) * gate + conv_norm(part, injection.embedding)
    torch.testing.assert_close(injection(local, part), expected)


def test_awaken_leaves_no_branch_silent():
    model = awaken(segmentor("lemore"))
    assert all(p.abs().max() > 0 for n, p in model.named_parameters() if n.endswith("weight"))


# standard deviations of the originals' first weights: U(-b, b), b = 1/sqrt(inputs), has b/sqrt(3)
FIRST_WEIGHTS = [
    ("lemore", "fuse.conv", 2**0.5),
    ("topformer_t", "fuse.conv", (2 / 128) ** 0.5),
    ("topformer_s", "fuse.conv", (2 / 192) ** 0.5),
    ("seaformer_t", "fuse.conv", (2 / 96) ** 0.5),
    ("topformer_t", "classifier", 0.01),
    ("segformer_b0", "projections.3", 1 / (3 * 256) ** 0.5),
    ("segformer_b0", "classifier", 1 / (3 * 256) ** 0.5),
    ("feedformer_b0", "classifier", 1 / (3 * 128) ** 0.5),
    ("umixformer_b0", "classifier", 1 / (3 * 128) ** 0.5),
    ("metaseg_t", "classifier", 1 / (3 * 128) ** 0.5),
]


@pytest.mark.parametrize(("name", "layer", "deviation"), FIRST_WEIGHTS)
def test_first_weights_of_heads_are_as_wide_as_the_originals(name, layer, deviation):
    weight = segmentor(name).decode_head.get_submodule(layer).weight.detach()
    assert weight.std().item() == pytest.approx(deviation, rel=4 / (2 * weight.numel()) ** 0.5)
