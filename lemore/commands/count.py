"""Count parameters and MACs of every model at one size, side by side, in seconds.

MACs are those of convolutions, linear layers and matrix products (attention included); the total in
fvcore's manner has norms and resizing too. Parameters are the inference network's; those of
auxiliary heads, which only training has, are in the next column. No weights are created.

Examples:
  lemore count
  lemore count lemore topformer_t segformer_b0 --num-classes 19 --size 512 1024 --csv counts.csv
  lemore count --config results/scenes/config/count.yaml --json results/scenes/counts.json
"""

import argparse
import csv
import io
from pathlib import Path
from typing import Any

from lemore.config.read import positive
from lemore.runtime.files import write_atomic
from lemore.stages.count import count_models, write_counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", help="names of files in config/models (all of them)")
    parser.add_argument("--num-classes", type=positive, default=150)
    parser.add_argument("--size", type=positive, nargs=2, metavar=("H", "W"), default=(512, 512))
    parser.add_argument("--csv", type=Path, help="file for the table")
    parser.add_argument("--config", type=Path, help="count what a run's YAML file says instead")
    parser.add_argument("--json", type=Path, help="file for the counts of --config")


def run(args: argparse.Namespace) -> int:
    if (args.config is None) != (args.json is None):
        raise ValueError("--config and --json go together: give both or neither")
    if args.config is not None:
        write_counts(args.config, args.json)
        return 0
    rows = count_models(args.models, args.num_classes, (args.size[0], args.size[1]))
    print(format_table(rows))
    if args.csv is not None:
        write_atomic(args.csv, format_csv(rows))
    return 0


def format_table(rows: list[dict[str, Any]]) -> str:
    """Formats columns for reading: names to the left, numbers to the right, three decimals."""
    table = [
        list(rows[0]),
        *([f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    signs = ["<"] * 3 + [">"] * (len(widths) - 3)  # three columns of text
    form = "  ".join(f"{{:{s}{w}}}" for s, w in zip(signs, widths, strict=True))
    return "\n".join(form.format(*line).rstrip() for line in table)


def format_csv(rows: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
