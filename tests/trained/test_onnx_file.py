"""An exported file as a model: the same labels by every command, and files that are refused."""

import json
import pickle
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

import lemore
from lemore.cli import main
from lemore.trained.exported_file import Exported
from lemore.trained.find import read_model, read_trained
from tests.trained_models import make_photo, make_settings, save, write_checkpoint

SIZE = (64, 96)
NAMES = tuple(f"class {k}" for k in range(4))
MODEL = "lraspp_mobilenet_v3_small"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("files")
    write_checkpoint(made / "weights.pt", make_settings(MODEL, "tiny", 4), NAMES)
    save(made / "photo.png", make_photo(0))
    return made


def write(folder: Path, name: str, *options: object) -> Path:
    paths = ["--checkpoint", folder / "weights.pt", "--output", folder / name]
    command = ["export", "--format", "onnx", "--size", *SIZE, "--seconds", 0.01, *paths]
    assert main(list(map(str, [*command, *options]))) in (0, 1)
    return folder / name


@pytest.fixture(scope="module")
def plain(folder) -> Path:
    return write(folder, "plain.onnx")


@pytest.fixture(scope="module")
def half(folder) -> Path:
    return write(folder, "half.onnx", "--half", "--json", folder / "half.json")


@pytest.fixture(scope="module")
def native(folder) -> Path:
    """RGB in, train ids at the network's stride out."""
    return write(folder, "native.onnx", "--labels", "native", "--with-normalization")


def image(batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(3))


@torch.inference_mode()
def test_a_file_is_loaded_as_the_model_that_it_holds(folder, plain):
    model, file = lemore.load(folder / "weights.pt"), lemore.load(plain)
    assert (file.classes, file.colors, file.name) == (model.classes, model.colors, model.name)
    torch.testing.assert_close(file(image(2)), model(image(2)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pickle.loads(pickle.dumps(file))(image()), file(image()))
    with pytest.raises(ValueError, match=r"plain\.onnx: takes images B 3 64 96, got \(1, 3, 64"):
        file(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="an exported file runs on the CPU"):
        lemore.load(plain, device="cuda")


@torch.inference_mode()
def test_a_file_of_labels_gives_ones_at_them(folder, native):
    ones = lemore.load(native)(image(2))
    logits = lemore.load(folder / "weights.pt")(image(2))
    assert ones.shape == logits.shape and bool((ones.sum(1) == 1).all())
    assert float((ones.argmax(1) == logits.argmax(1)).float().mean()) > 0.99
    found, expected = (
        lemore.load(path).predict(folder / "photo.png").label_map
        for path in (native, folder / "weights.pt")
    )
    assert found.shape == (80, 112) and (found == expected).mean() > 0.8


def test_half_is_half_as_large_and_keeps_its_ports(folder, plain, half):
    record = json.loads((folder / "half.json").read_text())
    assert record["format"] == "onnx float16" and record["equal_labels"] > 0.99
    assert half.stat().st_size < 0.65 * plain.stat().st_size
    graph = onnx.load(half).graph
    kinds = [tensor.data_type for tensor in graph.initializer]
    assert TensorProto.FLOAT16 in kinds and "trained" not in record
    ports = [port.type.tensor_type.elem_type for port in (*graph.input, *graph.output)]
    assert ports == [TensorProto.FLOAT, TensorProto.FLOAT]
    assert read_model(half).format == "ONNX float16"
    with torch.inference_mode():
        found, expected = (lemore.load(file)(image()) for file in (half, plain))
    assert 0 < float((found - expected).abs().max()) < 1e-2 * float(expected.std())


def change(file: Path, edit) -> Path:
    proto = onnx.load(file)
    edit(proto)
    path = file.with_name("bad.onnx")
    path.write_bytes(proto.SerializeToString())
    return path


def read_props(proto) -> dict:
    return {one.key: json.loads(one.value) for one in proto.metadata_props}


def set_about(**values):
    def edit(proto) -> None:
        known = {one.key: one.value for one in proto.metadata_props} | values
        kept = {key: value for key, value in known.items() if value is not None}
        del proto.metadata_props[:]
        onnx.helper.set_model_props(proto, kept)

    return edit


def set_external(proto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def set_external_within(proto) -> None:
    """In an attribute of a node of a graph within a node."""
    tensor = TensorProto(name="hidden", data_type=1, dims=[1])
    tensor.external_data.add(key="location", value="/etc/passwd")
    inner = helper.make_graph([helper.make_node("Constant", [], ["y"], value=tensor)], "g", [], [])
    proto.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner))


def set_operator(proto) -> None:
    proto.graph.node[0].domain = "evil.ops"
    proto.opset_import.add(domain="evil.ops", version=1)


def set_function(proto) -> None:
    proto.functions.add(name="Conv", domain="")


def set_trained(**values):
    def edit(proto) -> None:
        told = read_props(proto)["trained"]
        set_about(trained=json.dumps(told | values))(proto)

    return edit


EDITS = {
    "does not say which model it holds": set_about(trained=None),
    "metadata.size: not valid JSON": set_about(size="[64, 96"),
    "metadata.trained: larger than 1,048,576 bytes": set_about(trained="[" * (2 << 20)),
    "metadata.trained: not valid JSON (maximum recursion": set_about(trained="[" * 100_000),
    "metadata.size[0] is 1000000000, expected": set_about(size="[1000000000, 64]"),
    "metadata.size is (8192, 8192), expected at most": set_about(size="[8192, 8192]"),
    "metadata.input is 'BGR', expected one of": set_about(input='"BGR"'),
    "missing key 'metadata.precision'": set_about(precision=None),
    "metadata.trained.format is 'x', expected": set_trained(format="x"),
    "but its metadata mean": set_about(size="[96, 96]"),
    "the data of '": set_external,
    "the data of 'hidden' lie in another file": set_external_within,
    "operator evil.ops::": set_operator,
    "defines the operator 'Conv' itself": set_function,
    "its runtime does not load it (": lambda proto: proto.graph.initializer.pop(),
}


@pytest.mark.parametrize("words", EDITS)
def test_a_file_that_is_changed_is_refused(plain, words):
    path = change(plain, EDITS[words])
    with pytest.raises(ValueError) as caught:
        read_model(path)
    told = str(caught.value)
    assert told.startswith(str(path)) and words in told and "\n" not in told and len(told) < 1000


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut_is_refused(plain, share):
    content, path = plain.read_bytes(), plain.with_name("cut.onnx")
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"cut\.onnx: (not a whole ONNX file|does not say)"):
        read_model(path)


def test_a_train_id_without_a_class_is_refused(native):
    def edit(proto) -> None:
        told = read_props(proto)["trained"]
        told["config"]["num_classes"] = 2
        told["classes"] = {name: values[:2] for name, values in told["classes"].items()}
        set_about(trained=json.dumps(told))(proto)

    with pytest.raises(ValueError, match=r"bad\.onnx: gives train id 3, but has 2 classes"):
        lemore.load(change(native, edit))(image())


def test_a_file_has_no_tensors_for_a_training(plain):
    assert isinstance(read_model(plain), Exported)
    with pytest.raises(ValueError, match=r"plain\.onnx: an exported file, .* give the checkpoint"):
        read_trained(plain)
