"""A detector is counted and timed as other models, and has its row beside them."""

import json

import pytest

from lemore.cli import main
from lemore.reporting.tables.build import build_table
from lemore.reporting.tables.results import read_results
from lemore.stages import count

MODEL = "retinanet_shufflenet_v2"


def test_a_profile_of_a_detector_has_a_row_of_the_efficiency_table(tmp_path):
    pytest.importorskip("onnxscript")
    path = tmp_path / "profile.json"
    command = ["profile", "--model", MODEL, "--num-classes", "3", "--size", "128", "256"]
    command += ["--backends", "eager", "onnxruntime", "--seconds", "0.1", "--json", str(path)]
    assert main(command) == 0
    profile = json.loads(path.read_text())
    (cell,) = profile["cells"]
    job = count.make_job(MODEL, 3, (128, 256))
    counted = count.count_cell(job, job.cells[0])
    assert cell["macs"] == counted["macs"] and cell["params"] == counted["params"] > 8e6
    assert [one["backend"] for one in cell["latencies"]] == ["eager", "onnxruntime"]
    assert all(one["p50_ms"] > 0 for one in cell["latencies"])
    assert all("1 thread, logits and offsets of" in one["protocol"] for one in cell["latencies"])
    rows = build_table("efficiency", [], read_results([path], "profile"), [])
    row = rows.iloc[0]
    assert len(rows) == 1 and (row["encoder"], row["profile_size"]) == ("ShuffleNetV2", "128x256")
    assert row["params_m"] == pytest.approx(cell["params"] / 1e6, abs=0.01)
    assert row["gmacs"] == pytest.approx(cell["macs"] / 1e9, rel=0.01)
    assert row["latency_ms_p50"] == pytest.approx(cell["latency"]["p50_ms"], rel=0.1)
