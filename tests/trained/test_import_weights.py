"""Published layouts load into our models, which then compute what the originals compute.

tests/trained/parity/<model>.npz: names and shapes of the original implementation's tensors, and its
logits (float64) on the image and weights of formula_weights.py, 7 classes, 128 x 96. docs/parity.md
says how they were made and how much float64 and float32 differ.
"""

import dataclasses
import re
import zipfile
from pathlib import Path

import cv2
import formula_weights
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from lemore.cli import main
from lemore.config.jobs import FinetuneJob
from lemore.config.model import TORCHVISION, BackboneConfig
from lemore.config.read import build, load
from lemore.evaluation import segmentation
from lemore.models import build_backbone, torchvision_weights
from lemore.models.key_map import KeyMap, convert, find_key_map
from lemore.models.segmentor import make_model
from lemore.runtime import checkpoint
from lemore.trained.find import read_trained
from tests.networks import CONFIG, segmentor

SIZE = (128, 96)
LAYOUTS = {"pem": "detectron2", "hf": "hf", "hf5": "hf"}  # by a part of the file's name
FILES = sorted(path.stem for path in formula_weights.PARITY.glob("*.npz"))


def imported(name: str):
    model = segmentor(re.sub("_hf5?$", "", name), SIZE).double().eval()
    model.auxiliary_head = None  # as checkpoints are read
    state, reference = formula_weights.read_original(name)
    layout = next((LAYOUTS[part] for part in name.split("_") if part in LAYOUTS), "mmseg")
    key_map = find_key_map(model.decode_head.__class__.__module__.split(".")[-1], layout)
    model.load_state_dict(convert(state, key_map, model.state_dict(), name))
    return model, reference


def outputs(model, name: str, image: torch.Tensor) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        if not name.startswith("pem"):
            return {"logits": model(image)[0].numpy()}
        last = model.decode_head.training_outputs(model.backbone(image))[-1]
        return {"classes": last.classes[0].numpy(), "masks": last.masks[0, :, ::4, ::4].numpy()}


@pytest.mark.parametrize("name", FILES)
def test_logits_equal_the_original_implementations(name):
    model, reference = imported(name)
    exact = outputs(model, name, formula_weights.image(SIZE))
    for key, expected in reference.items():
        # PEM computes its sine positions in float32
        assert np.abs(exact[key] - expected).max() < (1e-6 if "pem" in name else 1e-11), key
    single = outputs(model.float(), name, formula_weights.image(SIZE).float())
    for key, expected in reference.items():
        largest = max(10.0, np.abs(expected).max())
        assert np.abs(single[key] - expected).max() < 5e-6 * largest, key


@pytest.fixture
def segformer():
    """Formula-filled tensors in the original layout, and the state dict they belong in."""
    return formula_weights.read_original("segformer_b0")[0], segmentor(
        "segformer_b0", SIZE
    ).state_dict()


SEGFORMER = find_key_map("segformer", "mmseg")


def test_unknown_missing_and_misshapen_tensors_are_listed(segformer):
    state, target = segformer
    state["backbone.block5.0.norm1.weight"] = torch.zeros(3)
    del state["decode_head.linear_pred.bias"]
    state["backbone.norm1.weight"] = torch.zeros(33)
    with pytest.raises(ValueError) as caught:
        convert(state, SEGFORMER, target, "x.pth")
    message = str(caught.value)
    assert "x.pth: 1 tensors unknown: backbone.block5.0.norm1.weight" in message
    assert "1 tensors missing: decode_head.classifier.bias" in message
    assert "backbone.stages.0.norm.weight (33,) instead of (32,)" in message


def test_a_tensor_given_twice_is_refused(segformer):
    state, target = segformer
    again = KeyMap((*SEGFORMER.renames, (r"^copy\.", "")), SEGFORMER.ignored)
    state["copy.backbone.stages.0.norm.weight"] = torch.zeros(32)
    with pytest.raises(ValueError, match=r"unknown: copy\.backbone"):
        convert(state, again, target, "x.pth")


def test_parts_that_do_not_fit_are_listed():
    """transformers keeps keys and values apart, MMSegmentation queries, keys and values together:
    joined and cut here, wrong sizes and marks of parts in the file's own names are refused."""
    name = "segformer.encoder.block.0.0.attention.self.{}.weight"
    state, target = (
        formula_weights.read_original("segformer_b0_hf")[0],
        segmentor("segformer_b0", SIZE).state_dict(),
    )
    state[name.format("value")] = torch.zeros(16, 16)
    state[name.format("key") + "#1"] = torch.zeros(32, 32)
    with pytest.raises(ValueError) as caught:
        convert(state, find_key_map("segformer", "hf"), target, "x.bin")
    message = str(caught.value)
    assert "1 tensors unknown: segformer.encoder.block.0.0.attention.self.key.weight#1" in message
    assert "0.attention.key_value.weight (32, 32) instead of (64, 32)" in message

    state, target = (
        formula_weights.read_original("umixformer_b0")[0],
        segmentor("umixformer_b0", SIZE).state_dict(),
    )
    state["backbone.layers.0.1.0.attn.attn.in_proj_weight"] = torch.zeros(95, 32)
    state["backbone.layers.0.1.0.attn.attn.in_proj_bias"] = torch.tensor(0.0)
    with pytest.raises(ValueError) as caught:
        convert(state, find_key_map("umixformer", "mmseg"), target, "x.pth")
    message = str(caught.value)
    assert "0.attention.key_value.weight (32, 32) instead of (64, 32)" in message
    assert "1 tensors unknown: backbone.layers.0.1.0.attn.attn.in_proj_bias" in message


def test_layouts_and_models_without_weights_are_named():
    with pytest.raises(ValueError, match="no layout 'hf', only mmseg"):
        find_key_map("topformer", "hf")
    with pytest.raises(ValueError, match=r"decode head 'lemore'.*segformer"):
        find_key_map("lemore", "mmseg")


ENCODERS = {
    "mobilenet_v2_os16": ("mobilenet_v2", lambda net, x: net.features[:4](x), 0),
    "mobilenet_v3_large": ("mobilenet_v3_large", lambda net, x: net.features[:7](x), 0),
    "efficientnet_b0": ("efficientnet_b0", lambda net, x: net.features[:6](x), 2),
    "shufflenet_v2_x1_5": (
        "shufflenet_v2_x1_5",
        lambda net, x: net.stage4(net.stage3(net.stage2(net.maxpool(net.conv1(x))))),
        3,
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_torchvision_encoders_compute_the_same(name):
    """Their tensors, by formula, in torchvision's model and in ours: the same map comes out."""
    builder, features, tap = ENCODERS[name]
    theirs = getattr(torchvision.models, builder)().double().eval()
    shapes = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    state = formula_weights.state(shapes)
    theirs.load_state_dict(state)
    config = load(BackboneConfig, CONFIG / "backbones" / f"{name}.yaml")
    ours = build_backbone(config.module, config.arguments, input_size=SIZE, drop_path=0.0)
    key_map = torchvision_weights.find_key_map(config.module)
    ours.double().eval().load_state_dict(convert(state, key_map, ours.state_dict(), name))
    with torch.inference_mode():
        image = formula_weights.image(SIZE)
        expected = features(theirs, image)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours(image)[tap], expected, rtol=0, atol=1e-12)
    weights = config.init.removeprefix("torchvision:")
    assert torchvision.models.get_weight(weights).meta["num_params"] == sum(
        p.numel() for p in theirs.parameters()
    )


def test_backbones_without_torchvision_weights_are_refused():
    assert set(torchvision_weights.KEY_MAPS) == set(TORCHVISION)
    with pytest.raises(ValueError, match="backbone mit has no torchvision weights"):
        torchvision_weights.find_key_map("mit")
    with pytest.raises(ValueError, match="torchvision has no weights 'Nothing'"):
        torchvision_weights.download("Nothing")


def weights_file(tmp_path: Path, content, name: str = "weights.pth") -> Path:
    torch.save(content, tmp_path / name)
    return tmp_path / name


def run_import(file: Path, output: Path, *, layout="mmseg", model="segformer_b0", dataset="ade20k"):
    options = ["--from", layout, "--model", model, "--dataset", dataset, "--output", str(output)]
    return main(["import-weights", *options, str(file)])


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_import_writes_a_checkpoint_that_rebuilds_the_model(tmp_path, kind, capsys):
    state = formula_weights.make_full_size(150)
    if kind == "pth":
        file = weights_file(tmp_path, {"state_dict": state, "meta": {"epoch": 3}})
    else:
        file = tmp_path / "weights.safetensors"
        save_file(state, file)
    assert run_import(file, tmp_path / "out.pt") == 0
    assert "segformer_b0 on ade20k" in capsys.readouterr().out
    content = checkpoint.load(tmp_path / "out.pt")
    model = make_model(build(FinetuneJob, content["config"], "out.pt")).eval()
    model.load_state_dict(content["state_dict"])
    assert torch.equal(model.backbone.stages[0].norm.weight, state["backbone.norm1.weight"])


# pixels of each class in ADE_val_00000002, by TopFormer's own code and mmcv's image functions, with
# the test pipeline of TopFormer's ADE20K configuration
TOPFORMER_PIXELS = {
    **{20: 194, 34: 4685, 49: 1334, 51: 22863, 54: 1775, 55: 7491, 64: 149, 98: 6302},
    **{112: 3, 119: 120371, 125: 28, 132: 16805},
}


def test_a_photograph_gets_the_original_implementation_s_labels(samples, tmp_path):
    file = weights_file(
        tmp_path, {"state_dict": formula_weights.make_full_size(150, "topformer_t")}
    )
    assert run_import(file, tmp_path / "out.pt", model="topformer_t") == 0
    trained = read_trained(tmp_path / "out.pt")
    model, recipe = trained.network(), trained.job.train
    photo = samples / "ade20k_samples/ADEChallengeData2016/images/validation/ADE_val_00000002.jpg"
    image = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
    test = dataclasses.replace(segmentation.make_plain_test(recipe.img_scale), align=32)
    labels = segmentation.label_image(model, image, torch.device("cpu"), test, None)
    expected = np.zeros(150, np.int64)
    expected[list(TOPFORMER_PIXELS)] = list(TOPFORMER_PIXELS.values())
    # rounding may turn a pixel between two equal classes
    assert np.abs(np.bincount(labels.ravel(), minlength=150) - expected).sum() <= 8


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_training_file_is_read_without_its_logs(tmp_path, capsys, caplog):
    """Files that a training saved hold metrics and logs as objects, and may lack counters."""
    state = {
        k: v
        for k, v in formula_weights.make_full_size(150).items()
        if not k.endswith("num_batches_tracked")
    }
    meta = {"best_score": np.float64(0.4), "log": {"loss": np.zeros(3)}, "hub": Evil()}
    file = weights_file(tmp_path, {"meta": meta, "state_dict": state})
    with caplog.at_level("INFO"):
        assert run_import(file, tmp_path / "out.pt") == 0
    assert "left out what is made by builtins.print" in caplog.text
    assert "executed" not in capsys.readouterr().out
    content = checkpoint.load(tmp_path / "out.pt")["state_dict"]
    assert {tensor.device.type for tensor in content.values()} == {"cpu"}
    assert content["decode_head.fuse.bn.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("model", "name", "layout", "message"),
    [
        ("segformer_b0", "backbone.patch_embed1.proj.weight", "hf", "say --from mmseg"),
        ("segformer_b0", "segformer.encoder.layer_norm.0.weight", "mmseg", "say --from hf"),
        ("segformer_b0", "decode_head.convs.0.conv.weight", "mmseg", "own SegFormer"),
        ("umixformer_b0", "decode_head.attn_c4.attn.sr1.weight", "mmseg", "Cityscapes alone"),
        ("feedformer_b0", "decode_head.attn_c4_c1.attn.sr1.weight", "mmseg", "Cityscapes alone"),
    ],
)
def test_another_network_or_layout_is_recognised(tmp_path, capsys, model, name, layout, message):
    file = weights_file(tmp_path, {"state_dict": {name: torch.zeros(2)}})
    assert run_import(file, tmp_path / "out.pt", layout=layout, model=model) == 2
    assert message in capsys.readouterr().err


def test_what_is_no_file_of_weights_is_named(tmp_path, capsys):
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    with zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("small/data.pkl", bytes(10_000))
    for path, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "none.safetensors", "no such file"),
        (tmp_path / "small.pth", "its part small/data.pkl is compressed"),
        (tmp_path / "page.pth", "page.pth: not a readable checkpoint of plain tensors"),
    ):
        assert run_import(path, tmp_path / "out.pt") == 2
        assert message in capsys.readouterr().err


def test_published_weights_are_no_checkpoint_of_ours(tmp_path):
    file = weights_file(tmp_path, {"state_dict": {"a": torch.zeros(2)}, "meta": {}})
    with pytest.raises(ValueError, match="`lemore import-weights`"):
        read_trained(file)
    with pytest.raises(ValueError) as caught:
        checkpoint.load(weights_file(tmp_path, {"state_dict": Evil()}))
    assert "Unsupported global" in str(caught.value) and "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": Evil()}, "'state_dict' is no tensor"),
        ({"state_dict": {"a": 3}}, "'a' is no tensor"),
        ({"state_dict": {1: torch.zeros(2)}}, "1 is no tensor"),
        ([], "holds no tensors by name"),
        ({"state_dict": {"a": torch.zeros(2)}}, "1 tensors unknown: a"),
    ],
)
def test_foreign_files_are_refused_and_not_executed(tmp_path, content, message, capsys):
    file = weights_file(tmp_path, content)
    assert run_import(file, tmp_path / "out.pt") == 2
    captured = capsys.readouterr()
    assert message in captured.err and "executed" not in captured.out
    assert not (tmp_path / "out.pt").exists()


def test_wrong_number_of_classes_is_named(tmp_path, capsys):
    file = weights_file(tmp_path, formula_weights.make_full_size(150))
    assert run_import(file, tmp_path / "out.pt", dataset="cityscapes") == 2
    message = capsys.readouterr().err
    assert "segformer_b0 with the 19 classes of cityscapes: 2 tensors of another shape" in message
    assert "decode_head.classifier.weight (150, 256, 1, 1) instead of (19," in message
