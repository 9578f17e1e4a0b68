"""Exported files of each format through each command: hostile, cut, and of another size."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import lemore
from lemore.cli import main
from lemore.config.formats import SUFFIXES, WRITERS, Kind, explain_absence
from lemore.data.store import Store
from lemore.runtime.files import read_json, write_json
from lemore.trained import exported
from lemore.trained.find import read_trained
from tests.conftest import make_store
from tests.exported_files import SIZE, change_tflite, run_export, write_network

KINDS = [
    "onnx",
    "openvino",
    # each file is tried in a process of its own
    pytest.param("executorch", marks=pytest.mark.slow),
    pytest.param("litert", marks=pytest.mark.slow),
]
DATA = ["--data-dir", "data", "--threads", "1", "--json", "e.json"]
COMMANDS = {
    "evaluate": ["evaluate", "--dataset", "tiny", *DATA],
    "predict": ["predict", "--index", "--output", "out", "photos"],
    "profile": ["profile", "--seconds", "0.01", "--json", "p.json"],
}
BOMB = b'<!DOCTYPE net [<!ENTITY a "' + b"a" * 99 + b'"><!ENTITY b "' + b"&a;" * 99 + b'">]>'
Edit = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = write_network(tmp_path_factory.mktemp("commands"))
    for name in ("tiny", "other"):
        make_store(made / "data" / name, "segmentation")
    digest = made / "data/other/digest.json"
    write_json(digest, read_json(digest) | {"classes": ["road", "sky", "car", "tree"]})
    return made


@pytest.fixture(scope="module", params=KINDS)
def kind(request, folder) -> Kind:
    """A format whose file lies in the folder as sound.<end>."""
    if reason := explain_absence(request.param, WRITERS[request.param]):
        pytest.skip(reason)
    assert run_export(folder, request.param, f"sound{SUFFIXES[request.param]}") == 0
    return request.param


@pytest.fixture(autouse=True)
def place(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)


def use_foreign_operator(content: bytes) -> bytes:
    proto = onnx.load_from_string(content)
    proto.graph.node[0].domain = "evil.ops"
    return proto.SerializeToString()


def use_custom_operator(content: bytes) -> bytes:
    def change(model) -> None:
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = 32  # CUSTOM
        code.customCode = "evil"

    return change_tflite(content, change)


def replace(before: bytes, after: bytes) -> Edit:
    def edit(content: bytes) -> bytes:
        assert before in content
        return content.replace(before, after)

    return edit


# of each format: what an attacker would try, and the words of the refusal
ATTACKS: dict[Kind, tuple[Edit, str]] = {
    "onnx": (use_foreign_operator, "operator evil.ops::"),
    "openvino": (replace(b"<net ", BOMB + b"<net "), "it declares entities"),
    "executorch": (replace(b"XnnpackBackend", b"XnnpaccBackend"), "ExecuTorch does not run it ("),
    "litert": (use_custom_operator, "unresolved custom op: evil"),
}
UNREADABLE: dict[Kind, str] = {
    "onnx": "not a whole ONNX file (|does not say which model it holds",  # no bytes are valid ONNX
    "openvino": "not an OpenVINO file (",
    "executorch": "ExecuTorch does not run it (",
    "litert": "LiteRT does not run it (",
}
DAMAGES: dict[str, Edit] = {
    "noise behind its first bytes": lambda content: content[:8] + random_bytes(5000),
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a web page": lambda content: b"<!DOCTYPE html><html>please log in</html>",
}


def random_bytes(count: int) -> bytes:
    return np.random.default_rng(3).bytes(count)


def expect_refusal(command: str, kind: Kind, edit: Edit, words: str, capsys) -> None:
    """Runs a command with a changed file, which it must refuse before it writes anything."""
    sound, bad = Path(f"sound{SUFFIXES[kind]}"), Path(f"bad{SUFFIXES[kind]}")
    bad.write_bytes(edit(sound.read_bytes()))
    if kind == "openvino":
        bad.with_suffix(".bin").write_bytes(sound.with_suffix(".bin").read_bytes())
    before = sorted(os.walk("."))
    capsys.readouterr()
    assert main([*COMMANDS[command], "--checkpoint", str(bad)]) == 2
    told = capsys.readouterr().err
    message = told.strip().split("\n")[-1]
    assert message.startswith(f"lemore {command}: error: {bad}: "), message
    assert any(part in message for part in words.split("|")), message
    assert "export the model again" in message or "expected a file of `lemore export`" in message
    assert "Traceback" not in told and len(message) < 1000 and sorted(os.walk(".")) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_an_attack_is_refused(kind, command, capsys):
    expect_refusal(command, kind, *ATTACKS[kind], capsys)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_file_is_refused(kind, command, damage, capsys):
    expect_refusal(command, kind, DAMAGES[damage], UNREADABLE[kind], capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_size_that_is_not_the_networks_is_refused(kind, command, capsys):
    words = "but its metadata mean [('float32', [3, 96, 96])"
    expect_refusal(command, kind, replace(b"[64, 96]", b"[96, 96]"), words, capsys)


def test_images_of_any_size_are_brought_to_the_files(kind, capsys):
    file = f"sound{SUFFIXES[kind]}"
    chosen = ["--checkpoint", file]
    assert main([*COMMANDS["predict"], *chosen, "--overwrite"]) == 0
    found = np.asarray(Image.open("out/index/0.png"))
    assert found.shape == (80, 112)
    assert (found == lemore.load(file).predict("photos/0.png").label_map).all()
    assert main([*COMMANDS["evaluate"], *chosen]) == 0
    record, trained = json.loads(Path("e.json").read_text()), read_trained("weights.pt")
    assert record["test_mode"] == "square" and record["format"].endswith("float32")
    assert record["weights_sha256"] == trained.record.weights_sha256
    store = Store(Path("data/tiny"), "val")
    expected = exported.evaluate_resized(trained.network(), store, trained.test, SIZE)
    assert record["miou"] == pytest.approx(expected, abs=1e-3) and expected > 0
    assert main([*COMMANDS["profile"], *chosen]) == 0
    told, record = capsys.readouterr().out, json.loads(Path("p.json").read_text())
    assert f"{file}: {record['format']}" in told and "at 64x96, 4 classes" in told
    cell = record["cells"][0]
    assert cell["latency"]["p50_ms"] > 0 and cell["size"] == [64, 96]
    assert main(["profile", "--checkpoint", "weights.pt"]) == 2
    assert "weights.pt is no exported file" in capsys.readouterr().err


def test_what_a_file_cannot_do_is_said(kind, capsys):
    chosen = ["--checkpoint", f"sound{SUFFIXES[kind]}"]
    cases = {
        "brings every image to 64 x 96": [*COMMANDS["predict"], "--overwrite", "--size", "96x64"],
        "test.mode is whole, expected square": [*COMMANDS["evaluate"], "--test", "mode=whole"],
        "trained with classes class 0, class 1, class 2, class 3; the prepared other has road": [
            *("evaluate", "--dataset", "other"),
            *DATA,
        ],
        "an exported file, which can be run, but": [
            *("export", "--format", "onnx", "--output", "again.onnx")
        ],
    }
    for words, command in cases.items():
        assert main([*command, *chosen]) == 2
        told = capsys.readouterr().err
        assert words in told and "Traceback" not in told
