"""The columns of every table and their types."""

from pathlib import Path
from typing import Any

import pandas as pd

COLUMNS = [
    "dataset", "model", "encoder", "seeds", "miou", "miou_sd", "miou_paper", "ap", "ap_sd",
    "ap_paper", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "top1", "top1_paper", "top5", "gmacs",
    "gmacs_fvcore", "gflops_paper", "params_m", "params_m_with_aux", "params_m_paper",
    "latency_ms_p50", "latency_ms_p95", "latency_ms_paper", "profile_size", "train_crop",
    "num_classes", "device", "source_paper", "note",
]  # fmt: skip
COUNTS = ("seeds", "num_classes")
MEASURES = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l")  # of detectors
NUMBERS = (
    "miou", "miou_sd", *MEASURES, "ap_sd", "top1", "top5", "gmacs", "gmacs_fvcore", "params_m",
    "params_m_with_aux", "latency_ms_p50", "latency_ms_p95",
)  # fmt: skip

Row = dict[str, Any]  # some of COLUMNS, with a list of remarks as `note`


def set_types(rows: list[Row] | pd.DataFrame) -> pd.DataFrame:
    """Returns a table with exactly `COLUMNS`: floats, integers that may be missing, and text."""
    frame = pd.DataFrame(rows, columns=pd.Index(COLUMNS), dtype=object)
    for column in COLUMNS:
        known = frame[column].where(frame[column] != "")
        if column in NUMBERS:
            frame[column] = known.astype(float)
        elif column in COUNTS:
            frame[column] = known.astype(float).astype("Int64")
        else:
            frame[column] = known.where(known.notna(), "")
    notes = [note if isinstance(note, str) else "; ".join(note) for note in frame["note"]]
    frame["note"] = pd.Series(notes, dtype=object)
    return frame


def read_csv(path: Path | str) -> pd.DataFrame:
    """Reads a table file; ValueError names a file with other columns."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{path}: not a table of `lemore table`: {error}") from None
    if list(frame.columns) != COLUMNS:
        raise ValueError(f"{path}: not a table of `lemore table`, its columns differ")
    return set_types(frame)
