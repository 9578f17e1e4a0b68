"""LiteRT files as models: what they compute, what they say, and files that are refused."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import lemore
from lemore.cli import main
from lemore.config import formats
from lemore.trained.find import read_model
from tests.exported_files import change_tflite, make_images, run_export, write_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_network(tmp_path_factory.mktemp("litert"))


@pytest.fixture(scope="module")
def files(folder) -> dict[str, Path]:
    if reason := formats.explain_absence("litert", formats.WRITERS["litert"]):
        pytest.skip(reason)
    options = {"float32": (), "int8": ("--int8", "--calibration", folder / "photos")}
    for precision, given in options.items():
        assert run_export(folder, "litert", f"{precision}.tflite", *given) == 0
    return {precision: folder / f"{precision}.tflite" for precision in options}


@pytest.mark.slow
@torch.inference_mode()
def test_each_precision_computes_what_the_network_does(folder, files):
    model = lemore.load(folder / "weights.pt")
    expected, largest = model(make_images(2)), {"float32": 1e-4, "int8": 1.0}
    for precision, path in files.items():
        file = lemore.load(path)
        assert (file.classes, file.colors, file.name) == (model.classes, model.colors, model.name)
        found = file(make_images(2))
        assert float((found - expected).abs().max()) < largest[precision] * float(expected.std())
        assert read_model(path).format == f"LiteRT {precision}"
    assert files["int8"].stat().st_size < 0.5 * files["float32"].stat().st_size


def replace(before: bytes, after: bytes):
    def edit(content: bytes) -> bytes:
        assert before in content
        return content.replace(before, after)

    return edit


EDITS = {
    "LiteRT does not run it (": lambda content: content[: len(content) // 2],
    "bad.tflite: LiteRT does not run it (`model_path`": lambda content: b"",
    "LiteRT does not run it (The model is not": lambda content: b"\x07\x01" * 999,
    "does not say which model it holds": replace(b"lemore_trained", b"lemora_trained"),
    "but its metadata mean": replace(b"[64, 96]", b"[96, 96]"),
    "metadata.size: not valid JSON": replace(b"[64, 96]", b"[64, 9  "),
}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("words", EDITS)
def test_a_file_that_is_changed_is_refused(folder, files, words, precision, capsys):
    path = folder / "bad.tflite"
    path.write_bytes(EDITS[words](files[precision].read_bytes()))
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        read_model(path)
    told = str(caught.value)
    assert told.startswith(str(path)) and "\n" not in told and len(told) < 1000
    assert main(["profile", "--checkpoint", str(path)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_that_would_end_the_process_is_refused(folder, files):
    def change(model) -> None:
        known = (tensor.quantization for tensor in model.subgraphs[0].tensors)
        for one in known:
            if one is not None and one.scale is not None:
                one.scale = np.zeros(len(one.scale), np.float32)

    path = folder / "bad.tflite"
    path.write_bytes(change_tflite(files["int8"].read_bytes(), change))
    with pytest.raises(ValueError, match=r"bad\.tflite: LiteRT does not run it \("):
        read_model(path)


def test_what_is_missing_is_told_with_its_command(folder, monkeypatch, capsys):
    monkeypatch.delenv(formats.LITERT_PYTHON, raising=False)
    monkeypatch.setitem(formats.WRITERS, "litert", ("litert_torch",))
    if formats.explain_absence("litert", ("litert_torch",)) is None:
        pytest.skip("litert-torch is installed here")
    assert run_export(folder, "litert", "none.tflite") == 2
    assert "LiteRT needs its converter in an environment of its own: python -m" in (
        capsys.readouterr().err
    )
    converter = folder / "python"
    converter.write_text("#!/bin/sh\necho this is no converter >&2\nexit 1\n")
    os.chmod(converter, 0o755)
    monkeypatch.setenv(formats.LITERT_PYTHON, str(converter))
    assert run_export(folder, "litert", "none.tflite") == 2
    assert "LiteRT: its converter failed: this is no converter" in capsys.readouterr().err
    monkeypatch.setitem(formats.WRITERS, "litert", ("no_such_package",))
    words = "needs no_such_package: pip install 'lemore[litert]'"
    assert formats.explain_absences(["litert"]) == {"litert": words}
