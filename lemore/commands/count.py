"""Count parameters and MACs of every model at one size, side by side, in seconds.

MACs are those of convolutions, linear layers and matrix products (attention included); the total in
fvcore's manner has norms and resizing too. Parameters are the inference network's; those of
auxiliary heads, which only training has, are in the column beside. No weight is ever made.

Examples:
  lemore count
  lemore count lemore topformer_t segformer_b0 --num-classes 19 --size 512 1024 --csv counts.csv
"""

import argparse
import csv
import io
from pathlib import Path
from typing import Any

from lemore.config.read import positive
from lemore.runtime.files import write_atomic
from lemore.runtime.progress import show_progress
from lemore.stages import counts as _counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", help="names of files in config/models (all of them)")
    parser.add_argument("--num-classes", type=positive, default=150)
    parser.add_argument("--size", type=positive, nargs=2, metavar=("H", "W"), default=(512, 512))
    parser.add_argument("--csv", type=Path, help="file for the table")


def run(args: argparse.Namespace) -> int:
    names = args.models or sorted(path.stem for path in Path("config/models").glob("*.yaml"))
    if not names:
        raise ValueError("config/models: no model here; run this in a clone of the project")
    rows = [row(name, args) for name in show_progress(names, "count", unit="model")]
    rows.sort(key=lambda one: one["gmacs"])
    print(aligned(rows))
    if args.csv is not None:
        write_atomic(args.csv, as_csv(rows).encode())
    return 0


def row(name: str, args: argparse.Namespace) -> dict[str, Any]:
    config, cell = _counts.by_name(name, args.num_classes, tuple(args.size))
    counts = _counts.count_cell(config, cell)
    with_aux = counts["params_with_aux"]
    return {
        "model": name,
        "label": config["model"]["label"],
        "encoder": config["model"]["encoder"],
        "params_m": counts["params"] / 1e6,
        "params_m_with_aux": "" if with_aux is None else with_aux / 1e6,
        "gmacs": counts["macs"] / 1e9,
        "gmacs_fvcore": counts["fvcore_total"] / 1e9,
    }


def aligned(rows: list[dict[str, Any]]) -> str:
    """Columns for the eye: names to the left, numbers to the right with three decimals."""
    table = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    names = 3  # columns of text
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < names else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def as_csv(rows: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
