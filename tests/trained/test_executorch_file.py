"""ExecuTorch files as models: what they compute, what they say, and files that are refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import lemore
from lemore.cli import main
from lemore.config import formats
from lemore.trained.find import read_model
from tests.exported_files import NAMES, make_images, run_export, write_network

WORDS = "needs no_such_package: pip install 'lemore[executorch]'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_network(tmp_path_factory.mktemp("executorch"))


@pytest.fixture(scope="module")
def files(folder) -> dict[str, Path]:
    pytest.importorskip("executorch", reason="needs pip install 'lemore[executorch]'")
    options = {"float32": ()}
    options |= {"int8": ("--int8", "--calibration", folder / "photos")}
    for precision, given in options.items():
        assert run_export(folder, "executorch", f"{precision}.pte", *given) in (0, 1)
    return {precision: folder / f"{precision}.pte" for precision in options}


@torch.inference_mode()
def test_each_precision_computes_what_the_network_does(folder, files):
    expected = lemore.load(folder / "weights.pt")(make_images(2))
    largest = {"float32": 1e-4, "int8": 1.0}
    for precision, path in files.items():
        found = lemore.load(path)(make_images(2))
        assert float((found - expected).abs().max()) < largest[precision] * float(expected.std())
        assert read_model(path).format == f"ExecuTorch {precision}"
    assert files["int8"].stat().st_size < 0.5 * files["float32"].stat().st_size


def test_a_file_says_what_it_is(folder, files):
    from executorch.runtime import Runtime

    model, file = lemore.load(folder / "weights.pt"), lemore.load(files["int8"])
    assert (file.classes, file.colors, file.name) == (model.classes, model.colors, model.name)
    program = Runtime.get().load_program(files["int8"])
    for name, value in {"size": [64, 96], "classes": list(NAMES), "precision": "int8"}.items():
        assert json.loads(program.load_method(f"about_{name}").execute([])[0]) == value


def test_labels_and_normalization_can_be_in_the_file(folder, files):
    options = ("--labels", "image", "--with-normalization")
    assert run_export(folder, "executorch", "labels.pte", *options) == 0
    photo = folder / "photos/0.png"
    found, expected = (
        lemore.load(path).predict(photo).label_map
        for path in (folder / "labels.pte", files["float32"])
    )
    assert found.shape == expected.shape and (found == expected).mean() > 0.9


def replace(before: bytes, after: bytes):
    def edit(content: bytes) -> bytes:
        assert before in content
        return content.replace(before, after)

    return edit


EDITS = {
    "ExecuTorch does not run it (RuntimeError: Failed to load program": lambda content: b"ET12" * 9,
    "bad.pte: ExecuTorch does not run it (": lambda content: b"",
    # these end the process that loads them
    "ExecuTorch does not run it (": lambda content: np.random.default_rng(3).bytes(5000),
    "ExecuTorch does not run": lambda content: content[:8] + np.random.default_rng(3).bytes(5000),
    "does not say which model it holds": replace(b"about_trained", b"abaut_trained"),
    "RuntimeError: Failed to load method": replace(b"XnnpackBackend", b"XnnpaccBackend"),
    "but its metadata mean": replace(b"[64, 96]", b"[96, 96]"),
    "metadata.size: not valid JSON": replace(b"[64, 96]", b"[64, 9  "),
}


@pytest.mark.slow  # each file is tried in a process of its own
@pytest.mark.parametrize("words", EDITS)
def test_a_file_that_is_changed_is_refused(folder, files, words):
    path = folder / "bad.pte"
    path.write_bytes(EDITS[words](files["float32"].read_bytes()))
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        read_model(path)
    told = str(caught.value)
    assert told.startswith(str(path)) and "\n" not in told and len(told) < 1000


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_file_that_is_cut_is_refused(folder, files, share, capsys):
    path, content = folder / "cut.pte", files["float32"].read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert main(["profile", "--checkpoint", str(path)]) == 2
    assert "cut.pte: ExecuTorch does not run it (" in capsys.readouterr().err


def test_what_it_does_not_have_is_refused(folder, monkeypatch, capsys):
    assert run_export(folder, "executorch", "none.pte", "--half") == 2
    assert "--half: only onnx and openvino have it, not executorch" in capsys.readouterr().err
    monkeypatch.setitem(formats.WRITERS, "executorch", ("no_such_package",))
    assert run_export(folder, "executorch", "none.pte") == 2
    assert f"ExecuTorch {WORDS}" in capsys.readouterr().err
