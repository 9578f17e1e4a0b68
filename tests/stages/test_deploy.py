"""A model deployed in several formats: the files, and figures that other commands find too."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import lemore
from lemore.cli import main
from lemore.config import code, formats
from lemore.config.jobs import DeployJob
from lemore.config.read import dump
from lemore.data.normalize import normalize
from lemore.data.store import Store
from lemore.evaluation import segmentation
from lemore.reporting.tables import deploy
from lemore.runtime.files import hash_file, read_json
from lemore.stages.deploy import warn_of_loss
from lemore.trained import exported
from lemore.trained.find import read_model
from tests.conftest import NUM_CLASSES
from tests.trained_models import make_settings, write_checkpoint

SIZE = (64, 96)
MODEL = "lraspp_mobilenet_v3_small"
MODULES = [
    "lemore.models.backbones.mobilenet_v3", "lemore.models.decode_heads.lraspp",
    "lemore.models.segmentor",
]  # fmt: skip
FORMATS = ("onnx", "onnx_fp16", "onnx_int8")


def write_job(folder: Path) -> Path:
    test = segmentation.make_plain_test((112, 80))
    place = ("test", "tiny", None, False, MODEL)
    path = folder / "deploy.yaml"
    path.write_text(dump(DeployJob(*place, FORMATS, SIZE, test, 5, 0.05, 1)))
    return path


def name_options(tiny, json: str) -> list[str]:
    paths = {"config": "deploy.yaml", "checkpoint": "weights.pt", "data": "data/tiny"}
    paths |= {"output": "deployed", "json": json}
    return ["deploy", *(word for name, path in paths.items() for word in (f"--{name}", path))]


@pytest.fixture(scope="module")
def record(tiny) -> dict:
    names = tuple(f"class {k}" for k in range(NUM_CLASSES))
    write_checkpoint(tiny.folder / "weights.pt", make_settings(MODEL, "tiny", 4), names)
    write_job(tiny.folder)
    tiny.lemore(*name_options(tiny, "deployed.json"))
    return read_json(tiny.folder / "deployed.json")


def test_each_file_is_a_model_and_what_the_record_says(tiny, record):
    rows = {row["format"]: row for row in record["formats"]}
    assert list(rows) == ["pytorch", *FORMATS] and record["left_out"] == {}
    for format, precision in zip(FORMATS, ("float32", "float16", "int8"), strict=True):
        path = tiny.folder / "deployed" / rows[format]["file"]
        assert (path.name, path.stat().st_size) == (f"{format}.onnx", rows[format]["bytes"])
        assert rows[format]["sha256"] == {path.name: hash_file(path)}
        assert read_model(path).format == f"ONNX {precision}"
    assert rows["onnx_int8"]["bytes"] < rows["onnx_fp16"]["bytes"] < rows["onnx"]["bytes"]
    assert record["modules"] == code.declare_code("deploy", MODULES)


def test_calibration_is_recorded(tiny, record):
    used = exported.read_images([tiny.data], SIZE, 5)
    assert record["calibration"]["images"] == len(used) == 5
    assert len(record["calibration"]["sha256"]) == 64


def test_accuracies_are_those_of_evaluate(tiny, record, monkeypatch):
    monkeypatch.chdir(tiny.folder)
    command = ["evaluate", "--dataset", "tiny", "--data-dir", "data", "--json", "e.json"]
    for row in record["formats"][1::2]:  # float32 and INT8
        checkpoint = ["--checkpoint", f"deployed/{row['file']}", "--threads", "1"]
        assert main([*command, *checkpoint]) == 0
        assert row["miou"] == pytest.approx(read_json(Path("e.json"))["miou"], abs=1e-9)
    assert record["formats"][0]["miou"] == pytest.approx(record["formats"][1]["miou"], abs=1e-3)


@torch.inference_mode()
def test_agreement_is_the_share_of_equal_labels(tiny, record):
    store, shares = Store(tiny.data, "val"), []
    models = [lemore.load(tiny.folder / p) for p in ("weights.pt", "deployed/onnx_int8.onnx")]
    for index in range(len(store)):
        x = normalize(exported.resize_image(store.read_image(index), SIZE), None)
        one, other = (
            F.interpolate(model(x), SIZE, mode="bilinear").argmax(1).numpy() for model in models
        )
        shares.append((one == other).mean())
    rows = {row["format"]: row for row in record["formats"]}
    assert rows["onnx_int8"]["agreement"] == pytest.approx(np.mean(shares), abs=1e-4)
    assert rows["onnx"]["agreement"] >= rows["onnx"]["bound"] == 0.9999
    assert "agreement" not in rows["pytorch"] and rows["onnx_int8"]["bound"] is None


def test_all_formats_are_timed_in_the_same_rounds(record):
    latencies = [row["latency"] for row in record["formats"]]
    assert len({(one["warmup"], one["repetitions"]) for one in latencies}) == 1
    assert all(0 < one["p50_ms"] <= one["p95_ms"] for one in latencies)
    assert "1 thread;" in record["protocol"] and record["threads"] == 1


def test_formats_without_their_packages_are_named_and_fail_nothing(
    tiny, record, monkeypatch, caplog
):
    monkeypatch.chdir(tiny.folder)
    monkeypatch.setitem(formats.WRITERS, "onnx", ("onnx", "no_such_package"))
    assert main(name_options(tiny, "left.json")) == 0
    words = "needs no_such_package: pip install 'lemore[export]'"
    assert f"onnx_int8 is left out: {words}" in caplog.text
    left = json.loads(Path("left.json").read_text())
    assert [row["format"] for row in left["formats"]] == ["pytorch"]
    assert left["left_out"] == dict.fromkeys(FORMATS, words)
    table = deploy.build_table([left])
    assert table["format"].tolist() == ["pytorch", *FORMATS]
    assert (
        table["note"][1] == f"left out: {words}" and table["miou"].isna().tolist()[1:] == [True] * 3
    )


def test_an_int8_file_that_loses_more_than_a_point_is_warned_of(caplog):
    for precision, lost in (("int8", 0.0099), ("float16", 0.5), ("int8", -0.1)):
        warn_of_loss("some", precision, lost)
    assert not caplog.text
    warn_of_loss("openvino_int8", "int8", 0.0312)
    assert "deploy: openvino_int8 loses 3.12 points of mIoU" in caplog.text
