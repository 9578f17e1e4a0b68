"""The table of deployed models: what each format costs in accuracy, and gains in time and size.

Accuracies and agreement are in percent, of images brought to the files' size; `miou_diff` is in
points, from PyTorch's mIoU at that size. `agreement` is the share of pixels with PyTorch's label.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lemore.reporting.tables.build import SCENES, remark_on_latency
from lemore.reporting.tables.printed import SCENES_SYMBOL, Cell, Column, PrintedTable, rank_best
from lemore.reporting.tables.results import Result, format_size

NAME = "deploy"
# the rounding of numbers, None: text
COLUMNS = {
    "dataset": None, "model": None, "format": None, "size": None, "bytes": 0, "agreement": 4,
    "miou": 4, "miou_diff": 4, "latency_ms_p50": 4, "latency_ms_p95": 4, "peak_memory_mb": 2,
    "threads": 0, "device": None, "note": None,
}  # fmt: skip
PRINTED = {
    "dataset": Column("Dataset"),
    "model": Column("Model"),
    "format": Column("Format"),
    "size": Column("Images at"),
    "bytes": Column("Size (MB)", 2),
    "agreement": Column("Labels as PyTorch's (%)", 2),
    "miou": Column("mIoU (%)", 2, "mIoU (%)", "measured"),
    "miou_diff": Column("mIoU difference", 2, "mIoU (%)", "diff."),
    "latency_ms_p50": Column("Latency p50 (ms)", 2, "Latency (ms)", "p50"),
    "latency_ms_p95": Column("Latency p95 (ms)", 2, "Latency (ms)", "p95"),
    "peak_memory_mb": Column("Peak memory (MiB)", 1),
    "threads": Column("Threads", 0),
    "device": Column("Device"),
}
FACTS = ("dataset", "size", "threads", "device")  # in the caption where all rows have the same
LARGER_IS_BETTER = {"bytes": False, "miou": True, "latency_ms_p50": False, "peak_memory_mb": False}
FORMATS = {
    "pytorch": "PyTorch, eager",
    "onnx": "ONNX float32",
    "onnx_fp16": "ONNX float16",
    "onnx_int8": "ONNX INT8",
    "openvino": "OpenVINO float32",
    "openvino_fp16": "OpenVINO float16",
    "openvino_int8": "OpenVINO INT8",
    "executorch": "ExecuTorch float32",
    "executorch_int8": "ExecuTorch INT8",
    "litert": "LiteRT float32",
    "litert_int8": "LiteRT INT8",
}


def build_table(deployments: Sequence[Result]) -> pd.DataFrame:
    """Builds a row per dataset, model and format, PyTorch first; a format that was left out has
    the reason as its note."""
    rows = [row for result in deployments for row in _list_rows(result)]
    return set_types(pd.DataFrame(rows, columns=pd.Index(COLUMNS), dtype=object))


def set_types(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table with floats, integers that may be missing, and text."""
    for column, decimals in COLUMNS.items():
        known = table[column].where(table[column] != "")
        if decimals is None:
            table[column] = known.where(known.notna(), "")
        else:
            numbers = known.astype(float).round(decimals) + 0.0  # no negative zero
            table[column] = numbers if decimals else numbers.astype("Int64")
    return table


def read_csv(path: Path | str) -> pd.DataFrame:
    """Reads a table file; ValueError names a file with other columns."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False).astype(object)
    if list(table.columns) != [*COLUMNS]:
        raise ValueError(f"{path}: not the table deploy of `lemore table`, its columns differ")
    return set_types(table)


def _list_rows(result: Result) -> list[dict[str, Any]]:
    place = {name: result[name] for name in ("dataset", "model", "threads", "device")}
    place["size"] = format_size(result["size"])
    scenes = [SCENES] if result["scenes"] else []
    reference, rows = result["formats"][0]["miou"], []
    for one in result["formats"]:
        own: dict[str, Any] = {"format": one["format"], "bytes": one["bytes"]}
        own |= {"miou": 100 * one["miou"], "latency_ms_p50": one["latency"]["p50_ms"]}
        own |= {"latency_ms_p95": one["latency"]["p95_ms"]}
        own |= {"peak_memory_mb": one["latency"]["peak_memory_mb"]}
        notes = scenes + remark_on_latency(one)
        if "agreement" in one:  # all but PyTorch
            own |= {"agreement": 100 * one["agreement"]}
            own |= {"miou_diff": 100 * (one["miou"] - reference)}
            if one["bound"] and one["agreement"] < one["bound"]:
                notes.append(f"fewer than {100 * one['bound']:g} % of the labels are PyTorch's")
            if kept := one.get("float_layers"):
                notes.append(f"{len(kept)} layers stay in float32, which the JSON names")
        rows.append(place | own | {"note": "; ".join(notes)})
    for format, reason in result["left_out"].items():
        rows.append(place | {"format": format, "note": f"left out: {reason}"})
    return rows


def lay_out(table: pd.DataFrame, measured: Mapping[str, str], run: str) -> PrintedTable:
    """Lays out the table for printing: a section for each model of a dataset.

    measured: the models' labels, by key.
    """
    rows = table.to_dict("records")
    known = {c: [r[c] for r in rows if not pd.isna(r[c]) and r[c] != ""] for c in PRINTED}
    facts = [c for c in FACTS if len(set(known[c])) == 1]
    columns = [c for c in PRINTED if known[c] and c not in facts]
    printed = table.round({c: kind.decimals for c, kind in PRINTED.items() if kind.decimals})
    like = printed.groupby(["dataset", "size", "device", "threads"])
    marks = {c: like[c].transform(rank_best, larger=up) for c, up in LARGER_IS_BETTER.items()}
    notes = dict.fromkeys(note for row in rows for note in _split_notes(row))
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    symbols = {note: SCENES_SYMBOL if note == SCENES else next(letters) for note in notes}
    names = [measured.get(row["model"], row["model"]) for row in rows]
    cells = []
    for i, row in enumerate(rows):
        texts = {"model": names[i], "format": FORMATS.get(row["format"], row["format"])}
        own = tuple(symbols[note] for note in _split_notes(row))
        marked = {c: str(values.iloc[i]) for c, values in marks.items()}
        cells.append(
            tuple(
                _make_cell(c, row | texts, marked.get(c, ""), own if c == "format" else ())
                for c in columns
            )
        )
    places = [(row["dataset"], row["model"]) for row in rows]
    starts = [i for i in range(len(rows)) if not i or places[i] != places[i - 1]]
    return PrintedTable(
        name=NAME,
        title="Deployed models by format, measured side by side",
        scenes=SCENES in notes,
        facts=(
            f"run {run}",
            *(f"{PRINTED[c].header.lower()} {rows[0][c]}" for c in facts),
            "accuracies are of test images brought to that size",
        ),
        columns=tuple(columns),
        header=tuple(PRINTED[c] for c in columns),
        rows=tuple(cells),
        sections=tuple((i, "") for i in starts),
        footnotes=tuple((symbol, note) for note, symbol in symbols.items()),
    )


def _split_notes(row: Mapping[str, Any]) -> list[str]:
    return row["note"].split("; ") if row["note"] else []


def _make_cell(column: str, row: Mapping[str, Any], mark: str, symbols: tuple[str, ...]) -> Cell:
    value, kind = row[column], PRINTED[column]
    if kind.decimals is None:
        return Cell(value, mark, symbols)
    if pd.isna(value):
        return Cell("", mark, symbols)
    value = float(value) / 1e6 if column == "bytes" else float(value)
    text = f"{value:.{kind.decimals}f}"
    if column == "miou_diff":
        text = f"{value:+.2f}".replace("-", "\N{MINUS SIGN}") if round(value, 2) else "0.00"
    return Cell(text, mark, symbols, value)
