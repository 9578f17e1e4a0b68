"""The table, figure and report of deployed models, from made-up results."""

import re

import pandas as pd
import pytest

from lemore.cli import main
from lemore.config.run import Format
from lemore.reporting.figures import deploy as figure
from lemore.reporting.tables import deploy
from lemore.reporting.tables.results import read_results
from lemore.reporting.tables.writers import format_csv, format_latex
from tests.made_up import write_results

COLUMNS = [
    "dataset", "model", "format", "size", "bytes", "agreement", "miou", "miou_diff",
    "latency_ms_p50", "latency_ms_p95", "peak_memory_mb", "threads", "device", "note",
]  # fmt: skip


def make_row(format: str, miou: float, p50: float, agreement: float | None = None) -> dict:
    latency = {"p50_ms": p50, "p95_ms": p50 * 1.1, "peak_memory_mb": 12.5}
    row = {"format": format, "bytes": 4_000_000, "miou": miou, "latency": latency}
    bound = {"onnx": 0.9999, "onnx_fp16": 0.999}.get(format)
    return row if agreement is None else row | {"agreement": agreement, "bound": bound}


def make_deployment(model: str, **changes) -> dict:
    rows = [make_row("pytorch", 0.5, 20), make_row("onnx", 0.50001, 10, 0.99999)]
    rows += [make_row("onnx_int8", 0.49, 8, 0.95)]
    return {
        "stage": "deploy", "run": "camvid", "dataset": "camvid", "stands_for": None,
        "scenes": False, "model": model, "label": model.title(), "encoder": "Ours", "seed": 0,
        "split": "test", "images": 9, "size": [256, 256], "threads": 2, "device": "a CPU",
        "protocol": "in turn", "calibration": {"images": 5, "sha256": "ca1"}, "formats": rows,
        "left_out": {}, "weights_sha256": "ab", "data_sha256": "da", "mlflow_run_id": f"d{model}",
        "finetune_run_id": "f0", "pretrain_run_id": "", "command": "lemore deploy <x>",
        "code": "c0de",
    } | changes  # fmt: skip


BAD = make_deployment(
    "topformer",
    scenes=True,
    formats=[make_row("pytorch", 0.4, 30), make_row("onnx", 0.4, 15, 0.9998)],
    left_out={"onnx_int8": "needs onnx: pip install 'lemore[export]'"},
)


def test_every_format_has_its_row_and_remarks():
    table = deploy.build_table([make_deployment("lemore"), BAD])
    assert list(table.columns) == COLUMNS
    rows = table.set_index(["model", "format"])
    int8 = rows.loc["lemore", "onnx_int8"]
    assert (int8["miou"], int8["miou_diff"], int8["agreement"]) == (49, -1, 95)
    assert (int8["bytes"], int8["size"], int8["threads"]) == (4_000_000, "256x256", 2)
    assert pd.isna(rows.loc["lemore", "pytorch"]["agreement"]) and int8["note"] == ""
    note = rows.loc["topformer", "onnx"]["note"]
    assert note.startswith("scenes: ") and "fewer than 99.99 % of the labels are PyT" in note
    left = rows.loc["topformer", "onnx_int8"]
    assert pd.isna(left["miou"]) and "pip install 'lemore[export]'" in left["note"]


def test_the_csv_is_read_again(tmp_path):
    table = deploy.build_table([make_deployment("lemore"), BAD])
    path = tmp_path / "deploy.csv"
    path.write_text(format_csv(table))
    pd.testing.assert_frame_equal(deploy.read_csv(path), table)
    path.write_text("dataset,model\n")
    with pytest.raises(ValueError, match=r"deploy\.csv: not the table deploy"):
        deploy.read_csv(path)


def test_the_printed_table_has_a_section_per_model_and_marks_the_best():
    table = deploy.build_table([make_deployment("lemore"), BAD])
    printed = deploy.lay_out(table, {"lemore": "LeMoRe"}, "camvid")
    assert printed.sections == ((0, ""), (3, "")) and printed.scenes
    assert "threads 2" in printed.facts and "threads" not in printed.columns
    by_column = dict(zip(printed.columns, printed.rows[2], strict=True))
    assert (by_column["model"].text, by_column["format"].text) == ("LeMoRe", "ONNX INT8")
    assert by_column["miou_diff"].text == "\N{MINUS SIGN}1.00"
    assert by_column["latency_ms_p50"].mark == "best" and by_column["bytes"].text == "4.00"
    marks = [row[printed.columns.index("miou")].mark for row in printed.rows]
    assert marks == ["best", "best", "second", "", "", ""], "equal as printed is equal"
    assert "p95" in format_latex(printed)
    assert printed.rows[3][1].symbols == ("†",) and len(printed.footnotes) == 3


def test_layers_that_stay_in_float32_are_noted():
    result = make_deployment("lemore")
    result["formats"][2]["float_layers"] = ["blocks.0.linear", "blocks.1.linear"]
    (note,) = (note for note in deploy.build_table([result])["note"] if "layers" in note)
    assert "2 layers stay in float32" in note


def test_every_format_has_a_printed_name():
    assert deploy.FORMATS.keys() == {"pytorch", *Format.__args__}


def test_the_figure_has_a_line_per_model_and_a_mark_per_format():
    drawn = figure.draw([make_deployment("lemore"), BAD])
    lines = [line for line in drawn.axes[0].lines if len(line.get_xdata()) > 1]
    assert [line.get_label() for line in lines] == ["Lemore", "Topformer"]
    assert len(drawn.axes[0].lines) - len(lines) == 3 + 2
    words = figure.describe([make_deployment("lemore"), BAD])
    assert "Lemore as ONNX INT8 49.0 % in 8.0 ms" in words and words.endswith("drawn scenes.")


def test_the_commands_make_table_figure_and_report(tmp_path):
    files = write_results(tmp_path, [make_deployment("lemore"), BAD])
    given = ["--deployments", *files]
    assert len(read_results(files, "deploy")) == 2
    assert main(["table", "deploy", "--run", "r", *given, "--output", f"{tmp_path}/deploy"]) == 0
    assert (tmp_path / "deploy.md").exists() and (tmp_path / "deploy.tex").exists()
    drawn = ["--output", f"{tmp_path}/deploy_camvid"]
    assert main(["figure", "deploy", "--dataset", "camvid", *given, *drawn]) == 0
    page = tmp_path / "report.html"
    parts = ["--tables", f"{tmp_path}/deploy.csv", "--figures", f"{tmp_path}/deploy_camvid.png"]
    assert main(["report", "--run", "r", *parts, *given, "--output", str(page)]) == 0
    text = page.read_text()
    assert 'id="table-deploy"' in text and 'id="made-deploy"' in text
    assert re.search(r"<dt>calibration images \(SHA-256\)</dt><dd>ca1</dd>", text)
