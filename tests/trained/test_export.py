"""Exported files against PyTorch, at other sizes and batches, and where there is no torch."""

import importlib.util
import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import lemore
from lemore.cli import main
from lemore.config.read import plain
from lemore.config.recipe_files import load_recipe
from lemore.data.normalize import MEAN, STD
from lemore.profiling import export
from lemore.profiling.runtimes import FileNetwork
from lemore.runtime import checkpoint
from lemore.stages.export import format_record, warn_of_size
from lemore.trained import exported
from lemore.trained.find import read_model, read_trained
from tests.networks import awaken, configs, segmentor

ROOT = Path(__file__).parents[2]
SIZE = (96, 160)  # of the files; the network was trained at 128 x 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of LeMoRe on CamVid with random weights, none of them silent, and images."""
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("export")
    model_config, backbone = configs("lemore")
    change = {"train": {"crop_size": [128, 128]}}
    recipe, _ = load_recipe(ROOT / "config/recipes/camvid", "camvid", "lemore", change)
    config = plain(
        {"model_name": "lemore", "dataset": "camvid", "num_classes": 11, "model": model_config}
        | {"backbone": backbone, "train": recipe, "run": "test", "init": "none"}
    )
    state = trained().state_dict()
    checkpoint.save(made / "weights.pt", {"state_dict": state, "config": config})
    (made / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        rough = Image.fromarray(rng.integers(0, 256, (6, 10, 3), dtype=np.uint8))
        rough.resize((200, 120), Image.Resampling.BICUBIC).save(made / f"photos/{i}.png")
    return made


def trained() -> torch.nn.Module:
    return awaken(segmentor("lemore", (128, 128), classes=11)).eval()


def run_export(folder: Path, output: str, *options: object, size=SIZE) -> int:
    kind = "torch_export" if output.endswith(".pt2") else "onnx"
    paths = ["--checkpoint", folder / "weights.pt", "--output", folder / output]
    command = ["export", "--format", kind, *paths, "--size", *size, "--seconds", 0.1, *options]
    return main(list(map(str, command)))


@pytest.fixture(scope="module")
def fixed(folder) -> Path:
    """An ONNX file with nothing special; what was found is beside it."""
    assert run_export(folder, "fixed.onnx", "--json", folder / "fixed.json") == 0
    return folder / "fixed.onnx"


def image(batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(3))


@torch.inference_mode()
def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.std().item())


def example(file: Path, photo: Path) -> np.ndarray:
    """The label map that the example writes, in this process."""
    target = photo.with_name(f"{file.stem}_{photo.stem}_labels.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["segment.py", str(file), str(photo), str(target)])
        runpy.run_path(str(ROOT / "examples/deploy/python/segment.py"), run_name="__main__")
    return np.asarray(Image.open(target))


def test_onnx_computes_what_pytorch_does_at_the_size_of_the_file(fixed):
    record = json.loads(fixed.with_suffix(".json").read_text())
    text = "\n".join(format_record(record))
    assert "96x160" in text and f"{100 * record['equal_labels']:.4f} %" in text
    assert "as a float file" not in text  # it is one
    assert record["largest_difference"] < 1e-4 and record["bytes"] == fixed.stat().st_size
    network = FileNetwork(fixed, 1)
    with torch.inference_mode():
        close(network(image()), trained()(image()))


def test_a_float_file_with_other_labels_fails(folder, monkeypatch, caplog):
    for equal, code in ((0.9899, 1), (0.9901, 0)):  # on random images
        found = {"images": 1, "largest_difference": 0.0, "equal_labels": equal}
        monkeypatch.setattr(exported, "compare_outputs", lambda *_, found=found: found)
        assert run_export(folder, "other.onnx") == code
        assert caplog.text.count("other.onnx is not to be trusted") == 1


def test_a_size_that_the_model_never_saw_is_warned_of(folder, caplog):
    model = read_trained(folder / "weights.pt")
    assert (model.job.train.crop_size, model.test.img_scale) == ((128, 128), (480, 360))
    for size in ((128, 128), (360, 480)):
        warn_of_size(size, model)
    assert not caplog.text
    warn_of_size(SIZE, model)
    (line,) = caplog.messages
    caplog.clear()
    wide = replace(model, test=replace(model.test, img_scale=(2048, 512)))
    warn_of_size((512, 683), wide)  # what most photographs of ADE20K are fitted into
    warn_of_size((2048, 512), wide)
    assert not caplog.text
    for size, other in (
        ((640, 2048), wide),
        ((360, 480), replace(model, test=replace(model.test, mode="slide", stride=(32, 32)))),
    ):
        warn_of_size(size, other)
    assert len(caplog.messages) == 2 and "tested on the same" in caplog.text
    assert line.startswith("--size: 96 x 160, but the model was trained on 128 x 128 and is tested")


def test_matrices_and_projections_are_constants(fixed):
    proto = onnx.load(fixed)
    shapes = [tuple(tensor.dims) for tensor in proto.graph.initializer]
    for stage in range(4):  # at 1/4 to 1/32: height 24, 12, 6, 3 and width 40, 20, 10, 5
        for side in (SIZE[0] >> (stage + 2), SIZE[1] >> (stage + 2)):
            assert (side, side) in shapes, f"no {side} x {side} matrix"
    assert (32 + 32 + 64, 208, 1, 1) in shapes, "q, k, v of all branches in one"
    assert [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == [1, 3, *SIZE]


def test_the_file_says_what_it_is(fixed):
    about = export.read_metadata(fixed)
    assert about["classes"][:3] == ["sky", "building", "pole"] and len(about["classes"]) == 11
    assert (about["size"], about["mean"], about["std"]) == (list(SIZE), list(MEAN), list(STD))
    assert (about["model"], about["dataset"]) == ("lemore", "camvid")


def test_any_number_of_images_at_once(folder, fixed):
    assert run_export(folder, "batch.onnx", "--dynamic-batch") == 0
    network = FileNetwork(folder / "batch.onnx", 1)
    with torch.inference_mode():
        for batch in (1, 3):
            close(network(image(batch)), trained()(image(batch)))
    photo = folder / "photos/1.png"
    assert (example(folder / "batch.onnx", photo) == example(fixed, photo)).mean() > 0.999
    with pytest.raises(Exception, match="invalid dimensions"):  # the size is fixed
        network(torch.zeros(1, 3, 128, 128))


@pytest.mark.parametrize("options", [(), ("--dynamic-batch",)])
def test_torch_export_computes_the_same(folder, options):
    assert run_export(folder, "program.pt2", *options) == 0
    extra = {export.METADATA: ""}
    program = torch.export.load(folder / "program.pt2", extra_files=extra).module()
    batch = 3 if options else 1
    with torch.inference_mode():
        close(program(image(batch)), trained()(image(batch)))
    assert json.loads(extra[export.METADATA])["size"] == list(SIZE)


def test_normalization_and_argmax_can_be_in_the_file(folder, fixed):
    assert run_export(folder, "whole.onnx", "--with-normalization", "--labels", "image") == 0
    generator = torch.Generator().manual_seed(5)
    raw = torch.randint(0, 256, (1, 3, *SIZE), generator=generator).float()
    found = FileNetwork(folder / "whole.onnx", 1)(raw)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    with torch.inference_mode():
        logits = trained()((raw - mean) / std)
        full = F.interpolate(logits, SIZE, mode="bilinear", align_corners=False)
    assert found.dtype == torch.uint8 and found.shape == (1, *SIZE)
    assert (found == full.argmax(1)).float().mean() > 0.999
    photo = folder / "photos/1.png"
    labels = example(folder / "whole.onnx", photo)
    assert (labels == example(fixed, photo)).mean() > 0.95
    predicted = lemore.load(folder / "whole.onnx").predict(photo).label_map
    assert predicted.shape == labels.shape and (predicted == labels).mean() > 0.85


def test_int8_stays_near_and_is_smaller(folder, fixed):
    photos = ("--calibration", folder / "photos")
    assert run_export(folder, "int8.onnx", "--int8", *photos, "--json", folder / "int8.json") == 0
    record = json.loads((folder / "int8.json").read_text())
    assert f"as a float file {record['float_file_ms']:.1f} ms" in format_record(record)[-1]
    kinds = {node.op_type for node in onnx.load(folder / "int8.onnx").graph.node}
    assert "QuantizeLinear" in kinds
    assert (folder / "int8.onnx").stat().st_size < 0.5 * fixed.stat().st_size
    about = export.read_metadata(fixed) | {"precision": "int8"}
    assert export.read_metadata(folder / "int8.onnx") == about
    assert read_model(folder / "int8.onnx").format == "ONNX int8"
    x = (torch.from_numpy(photo(folder, 0)).permute(2, 0, 1)[None] - 120) / 58
    small = F.interpolate(x, SIZE, mode="bilinear")
    with torch.inference_mode():
        expected = trained()(small)
        found = FileNetwork(folder / "int8.onnx", 1)(small)
    error = (found - expected).square().mean().sqrt() / expected.std()
    assert 0 < error < 0.3
    image = folder / "photos/1.png"
    assert (example(folder / "int8.onnx", image) == example(fixed, image)).mean() > 0.7


def photo(folder: Path, index: int) -> np.ndarray:
    return np.asarray(Image.open(folder / f"photos/{index}.png"), np.float32)


WITHOUT_TORCH = """
import runpy, sys
sys.modules |= {"torch": None, "lemore": None, "cv2": None}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_example_runs_without_torch(folder, fixed):
    example = ROOT / "examples/deploy/python/segment.py"
    paths = (fixed, folder / "photos/0.png", folder / "labels.png")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(example), *map(str, paths)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": "/usr/bin"},
    )
    assert done.returncode == 0, done.stderr
    labels = np.asarray(Image.open(folder / "labels.png"))
    assert labels.shape == (120, 200) and labels.max() < 11
    assert sum(float(line.split()[-1][:-1]) for line in done.stdout.splitlines()) == pytest.approx(
        100, abs=1
    )
    small = Image.open(folder / "photos/0.png").resize(SIZE[::-1], Image.Resampling.BILINEAR)
    x = torch.from_numpy(np.asarray(small, np.float32)).permute(2, 0, 1)[None]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    with torch.inference_mode():
        logits = trained()((x - mean) / std)
        full = F.interpolate(logits, (120, 200), mode="bilinear", align_corners=False)
    assert (full[0].argmax(0).numpy() == labels).mean() > 0.999


def test_the_example_labels_as_predict_does_at_the_same_size(folder, fixed, tmp_path):
    photo = tmp_path / "large.png"
    noise = np.random.default_rng(1).integers(0, 256, (360, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photo)
    expected = lemore.load(folder / "weights.pt").predict(photo, size=(160, 96)).label_map
    assert (example(fixed, photo) == expected).mean() > 0.99


def test_the_example_turns_photos_upright(folder, fixed):
    upright = Image.open(folder / "photos/2.png")
    exif = Image.Exif()
    exif[0x112] = 6  # shown after a quarter turn clockwise
    upright.rotate(90, expand=True).save(folder / "turned.png", exif=exif)
    turned = example(fixed, folder / "turned.png")
    assert (turned == example(fixed, folder / "photos/2.png")).all()


def test_the_example_stays_short():
    code = (ROOT / "examples/deploy/python/segment.py").read_text().split('"""')[2].split("\n")
    assert len([line for line in code if line.strip()]) <= 28


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "x.pt2"], "x.pt2 should end in .onnx for onnx"),
        (["--int8"], "--int8: give --calibration"),
        (["--size", "32", "64"], "32 x 64, expected at least 64 x 64"),
        (["--evaluate", "camvid", "--labels", "image"], "--evaluate: leave out --labels"),
        (["--half", "--int8", "--calibration", "x"], "--int8, --half: give one of them"),
        (
            ["--half", "--format", "torch_export", "--output", "x.pt2"],
            "--half: only onnx and openvino have",
        ),
        (["--calibration", "nowhere"], "nowhere holds no image"),
        (["--checkpoint", "nowhere.pt"], "nowhere.pt: no such file, folder or training"),
    ],
)
def test_mistakes_are_one_line(folder, options, message, capsys):
    assert run_export(folder, "wrong.onnx", *options) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "wrong.onnx").exists()


def test_a_backbone_is_refused_by_name(folder, capsys):
    content = {"state_dict": {}, "config": {"backbone_name": "lemore"}}
    checkpoint.save(folder / "backbone.pt", content)
    assert run_export(folder, "wrong.onnx", "--checkpoint", folder / "backbone.pt") == 2
    assert "a pretrained backbone, not a segmentation model" in capsys.readouterr().err


def test_missing_packages_are_named(folder, monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name)
    )
    assert run_export(folder, "wrong.onnx") == 2
    assert "onnxscript: pip install 'lemore[export]'" in capsys.readouterr().err
