"""Published layouts load into our models, which then compute what the originals compute.

tests/data/parity/<model>.npz: names and shapes of the original implementation's tensors, and its
logits (float64) on the image and weights of formula_weights.py, 7 classes, 128 x 96.
"""

import json
from pathlib import Path

import formula_weights
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from test_models import CONFIG, segmentor

from lemore.cli import main
from lemore.config import build, load
from lemore.models import build_backbone, torchvision_weights
from lemore.models.key_map import KeyMap, convert, find
from lemore.models.schema import BackboneConfig
from lemore.tasks._finetune import make_model
from lemore.training import checkpoint
from lemore.training.recipe import Train

PARITY = Path(__file__).parent / "data/parity"
SIZE = (128, 96)
LAYOUTS = {"pem_stdc1": "detectron2", "segformer_b0_hf": "hf"}
FILES = sorted(path.stem for path in PARITY.glob("*.npz"))


def original(name: str) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
    """Formula-filled tensors of the original layout, and the reference outputs."""
    data = np.load(PARITY / f"{name}.npz")
    shapes = {key: tuple(shape) for key, shape in json.loads(str(data["shapes"])).items()}
    return formula_weights.state(shapes), {k: data[k] for k in data.files if k != "shapes"}


def imported(name: str):
    model = segmentor(name.removesuffix("_hf"), SIZE).double().eval()
    state, reference = original(name)
    key_map = find(
        model.decode_head.__class__.__module__.split(".")[-1], LAYOUTS.get(name, "mmseg")
    )
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
        assert np.abs(exact[key] - expected).max() < (1e-6 if "pem" in name else 1e-9), key
    single = outputs(model.float(), name, formula_weights.image(SIZE).float())
    for key, expected in reference.items():
        assert np.abs(single[key] - expected).max() < (1e-4 if key == "masks" else 5e-5), key


@pytest.fixture
def segformer():
    """Formula-filled tensors in the original layout, and the state dict they belong in."""
    return original("segformer_b0")[0], segmentor("segformer_b0", SIZE).state_dict()


SEGFORMER = find("segformer", "mmseg")


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


def test_layouts_and_models_without_weights_are_named():
    with pytest.raises(ValueError, match="no layout 'hf', only mmseg"):
        find("topformer", "hf")
    with pytest.raises(ValueError, match=r"decode head 'lemore'.*segformer"):
        find("lemore", "mmseg")


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
    ours = build_backbone(config.module, input_size=SIZE, drop_path=0.0, **config.arguments)
    key_map = torchvision_weights.key_map(config.module)
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
    with pytest.raises(ValueError, match="backbone mit has no torchvision weights"):
        torchvision_weights.key_map("mit")
    with pytest.raises(ValueError, match="torchvision has no weights 'Nothing'"):
        torchvision_weights.download("Nothing")


def weights_file(tmp_path: Path, content, name: str = "weights.pth") -> Path:
    torch.save(content, tmp_path / name)
    return tmp_path / name


def run_import(file: Path, output: Path, *, layout="mmseg", model="segformer_b0", dataset="camvid"):
    options = ["--from", layout, "--model", model, "--dataset", dataset, "--output", str(output)]
    return main(["import-weights", *options, str(file)])


def full_size(classes: int) -> dict[str, torch.Tensor]:
    state = original("segformer_b0")[0]
    for key in ("decode_head.conv_seg", "decode_head.linear_pred"):
        width = state[f"{key}.weight"].shape[1]
        state[f"{key}.weight"] = formula_weights.tensor(f"{key}.weight", (classes, width, 1, 1))
        state[f"{key}.bias"] = formula_weights.tensor(f"{key}.bias", (classes,))
    return {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_import_writes_a_checkpoint_that_rebuilds_the_model(tmp_path, kind, capsys):
    state = full_size(150)
    if kind == "pth":
        file = weights_file(tmp_path, {"state_dict": state, "meta": {"epoch": 3}})
    else:
        file = tmp_path / "weights.safetensors"
        save_file(state, file)
    assert run_import(file, tmp_path / "out.pt", dataset="ade20k") == 0
    assert "segformer_b0 on ade20k" in capsys.readouterr().out
    content = checkpoint.load(tmp_path / "out.pt")
    recipe = build(Train, content["config"]["train"], "out.pt", "train.")
    model = make_model(content["config"], recipe).eval()
    model.load_state_dict(content["state_dict"])
    assert torch.equal(model.backbone.stages[0].norm.weight, state["backbone.norm1.weight"])


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": Evil()}, "not a readable checkpoint of plain tensors"),
        ({"state_dict": {"a": 3}}, "'a' is no tensor"),
        ([], "holds no tensors by name"),
        ({"state_dict": {"a": torch.zeros(2)}}, "1 tensors unknown: a"),
    ],
)
def test_foreign_files_are_refused_and_not_executed(tmp_path, content, message, capsys):
    file = weights_file(tmp_path, content)
    assert run_import(file, tmp_path / "out.pt", dataset="ade20k") == 2
    captured = capsys.readouterr()
    assert message in captured.err and "executed" not in captured.out
    assert not (tmp_path / "out.pt").exists()


def test_wrong_number_of_classes_is_named(tmp_path, capsys):
    file = weights_file(tmp_path, full_size(150))
    assert run_import(file, tmp_path / "out.pt", dataset="cityscapes") == 2
    assert "decode_head.classifier.weight (150, 256, 1, 1) instead of (19," in (
        capsys.readouterr().err
    )
