"""OpenVINO files as models: what they compute, what they say, and files that are refused."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

import lemore
from lemore.cli import main
from lemore.config import formats
from lemore.stages.profile_file import profile_file
from lemore.trained.find import read_model
from tests.exported_files import make_images, run_export, write_network

WORDS = "needs no_such_package: pip install 'lemore[openvino]'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_network(tmp_path_factory.mktemp("openvino"))


@pytest.fixture(scope="module")
def files(folder) -> dict[str, Path]:
    pytest.importorskip("openvino", reason="needs pip install 'lemore[openvino]'")
    pytest.importorskip("nncf", reason="needs pip install 'lemore[openvino]'")
    options = {"float32": (), "float16": ("--half",)}
    options |= {"int8": ("--int8", "--calibration", folder / "photos")}
    for precision, given in options.items():
        assert run_export(folder, "openvino", f"{precision}.xml", *given) in (0, 1)
    return {precision: folder / f"{precision}.xml" for precision in options}


@torch.inference_mode()
def test_each_precision_computes_what_the_network_does(folder, files):
    expected = lemore.load(folder / "weights.pt")(make_images(2))
    largest = {"float32": 1e-4, "float16": 2e-2, "int8": 1.0}
    sizes = {}
    for precision, path in files.items():
        found = lemore.load(path)(make_images(2))
        assert float((found - expected).abs().max()) < largest[precision] * float(expected.std())
        sizes[precision] = path.with_suffix(".bin").stat().st_size
        assert read_model(path).format == f"OpenVINO {precision}"
    assert sizes["int8"] < sizes["float16"] < 0.55 * sizes["float32"]


def test_a_file_says_what_it_is(folder, files):
    model, file = lemore.load(folder / "weights.pt"), lemore.load(files["int8"])
    assert (file.classes, file.colors, file.name) == (model.classes, model.colors, model.name)
    section = ElementTree.parse(files["int8"]).find("rt_info/framework")
    told = {one.tag: one.get("value") for one in section}
    assert told["size"] == "[64, 96]" and told["classes"].startswith('["class 0", "class 1"')
    assert told["precision"] == '"int8"' and told["mean"] == "[123.675, 116.28, 103.53]"
    record = profile_file(str(files["int8"]), 1, 0.01, None)
    parts = [files["int8"].with_suffix(suffix) for suffix in (".xml", ".bin")]
    assert record["bytes"] == sum(part.stat().st_size for part in parts)
    assert "INFERENCE_PRECISION_HINT f32" in record["cells"][0]["latency"]["protocol"]


def test_labels_and_normalization_can_be_in_the_file(folder, files):
    options = ("--labels", "image", "--with-normalization")
    assert run_export(folder, "openvino", "labels.xml", *options) == 0
    photo = folder / "photos/0.png"
    found, expected = (
        lemore.load(path).predict(photo).label_map
        for path in (folder / "labels.xml", files["float32"])
    )
    assert found.shape == expected.shape and (found == expected).mean() > 0.9


@pytest.mark.slow
def test_linear_layers_before_depthwise_ones_stay_in_float32(tmp_path):
    """SegFormer-B0 has eight blocks, each with one in its feed-forward. Given to OpenVINO in INT8,
    they make logits of noise on CPUs with VNNI."""
    pytest.importorskip("nncf", reason="needs pip install 'lemore[openvino]'")
    folder = write_network(tmp_path, "segformer_b0")
    options = ("--int8", "--calibration", folder / "photos", "--json", folder / "record.json")
    assert run_export(folder, "openvino", "int8.xml", *options) == 0
    kept = json.loads((folder / "record.json").read_text())["float_layers"]
    assert len(set(kept)) == 8
    expected, found = (
        lemore.load(path)(make_images(2)) for path in (folder / "weights.pt", folder / "int8.xml")
    )
    assert float((found - expected).std()) < 0.2 * float(expected.std())


def change(folder: Path, files: dict[str, Path], edit) -> Path:
    path = folder / "bad.xml"
    path.write_bytes(edit(files["float32"].read_bytes()))
    path.with_suffix(".bin").write_bytes(files["float32"].with_suffix(".bin").read_bytes())
    return path


ENTITIES = b'<!DOCTYPE net [<!ENTITY a "' + b"a" * 99 + b'"><!ENTITY b "' + b"&a;" * 99 + b'">]>'


def replace(before: bytes, after: bytes):
    def edit(content: bytes) -> bytes:
        assert before in content
        return content.replace(before, after, 1)

    return edit


EDITS = {
    "not an OpenVINO file (it declares entities": replace(b"<net ", ENTITIES + b"<net "),
    "it declares entities or has": replace(
        b"<net ", b'<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]><net '
    ),
    "not an OpenVINO file ('utf-8' codec": lambda content: content.decode().encode("utf-16"),
    "not an OpenVINO file (no element found": lambda content: content[: content.index(b"</layer>")],
    "not an OpenVINO file (not well-formed": lambda content: b"<" * 99,
    "its root is 'html', expected 'net'": lambda content: b"<html></html>",
    "not an OpenVINO file (unclosed": lambda content: b"<net>" * 99 + b"<",
    "operator evil::Parameter is not one of OpenVINO's own": replace(
        b'type="Parameter" version="opset1"', b'type="Parameter" version="evil"'
    ),
    "does not say which model it holds": replace(b"<trained ", b"<other "),
    "its runtime does not load it (": replace(b'type="Convolution"', b'type="Convolucion"'),
    "but its metadata mean": replace(b'<size value="[64, 96]"', b'<size value="[96, 96]"'),
    "metadata.size[0] is 1000000000, expected": replace(b"[64, 96]", b"[1000000000, 64]"),
}


@pytest.mark.parametrize("words", EDITS)
def test_a_file_that_is_changed_is_refused(folder, files, words):
    path = change(folder, files, EDITS[words])
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        read_model(path)
    told = str(caught.value)
    assert told.startswith(str(path)) and "\n" not in told and len(told) < 1000


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_weights_that_are_cut_or_missing_are_refused(folder, files, share, capsys):
    path = change(folder, files, lambda content: content)
    weights = path.with_suffix(".bin")
    content = weights.read_bytes()
    weights.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"bad\.xml: its runtime does not load it \("):
        read_model(path)
    weights.unlink()
    assert main(["profile", "--checkpoint", str(path)]) == 2
    assert (
        "bad.xml: its weights are missing, expected beside it: bad.bin" in capsys.readouterr().err
    )


def test_a_missing_package_is_told_with_its_command(folder, monkeypatch, capsys):
    monkeypatch.setitem(formats.WRITERS, "openvino", ("no_such_package",))
    monkeypatch.setitem(formats.RUNTIMES, "openvino", ("no_such_package",))
    assert formats.explain_absences(["onnx", "openvino_fp16"]) == {"openvino_fp16": WORDS}
    assert run_export(folder, "openvino", "none.xml") == 2
    assert f"OpenVINO {WORDS}" in capsys.readouterr().err
    (folder / "other.xml").write_text("<net/>")
    with pytest.raises(ValueError, match="no_such_package"):
        read_model(folder / "other.xml")
