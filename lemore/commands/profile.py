"""Count parameters and MACs of a model, and measure its latency.

Latencies are those of one image and of the model folded for inference (batch norms and LeMoRe's
nested projections taken into convolutions). Each backend runs alone: eager, compiled
(torch.compile) and onnxruntime on the CPU, cuda on the first GPU. An exported file is timed as it
is, in its runtime and at its own size.

Examples:
  lemore profile --model lemore --depth 2
  lemore profile --model lemore --num-classes 150 --size 512 512 --backends eager onnxruntime \\
    --upsample --threads 2 --json /tmp/lemore.json
  lemore profile --checkpoint lemore.onnx --threads 2
"""

import argparse
from pathlib import Path
from typing import Any, get_args

from lemore.config.read import option, positive
from lemore.config.run import Backend
from lemore.config.values import Number, Positive
from lemore.stages.profile import ProfileOptions, profile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="resolved profile (YAML), or by hand:")
    parser.add_argument("--model", help="name of a file in config/models")
    parser.add_argument("--checkpoint", help="a file of lemore export instead")
    parser.add_argument("--num-classes", type=positive, default=150)
    parser.add_argument("--size", type=positive, nargs=2, metavar=("H", "W"), default=(512, 512))
    parser.add_argument(
        "--seconds", type=option(Positive), default=5.0, help="longest latency measurement"
    )
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads")
    parser.add_argument("--backends", nargs="+", choices=get_args(Backend), default=["eager"])
    parser.add_argument("--upsample", action="store_true", help="time it with logits resized too")
    parser.add_argument(
        "--depth", type=option(Number), default=0, help="print the tree of modules this deep"
    )
    parser.add_argument("--json", type=Path, help="file for the results")


def run(args: argparse.Namespace) -> int:
    depth, checkpoint = vars(args).pop("depth"), vars(args).pop("checkpoint")
    if checkpoint is None:
        record = profile(ProfileOptions(**vars(args)))
    else:
        from lemore.stages.profile_file import profile_file  # a profile does not need its code

        record = profile_file(checkpoint, args.threads, args.seconds, args.json)
        print(f"{record['file']}: {record['format']}, {record['bytes'] / 1e6:.2f} MB")
    for cell in record["cells"]:
        print("\n".join([*format_tree(cell, depth), *format_cell(record["label"], cell)]))
    return 0


def format_tree(cell: dict[str, Any], depth: int) -> list[str]:
    """Lists parameters, MACs and shares of the modules down to `depth`; [] for 0."""
    if depth < 1:
        return []
    rows = [f"{'module':<48}{'parameters':>12}{'MMACs':>12}{'share':>8}"]
    for name, counts in cell["modules"].items():
        level = name.count(".") + 1 if name else 0
        if level <= depth:
            label = "  " * level + (name.rsplit(".", 1)[-1] or "model")
            share = counts["macs"] / max(cell["macs"], 1)
            millions = f"{counts['macs'] / 1e6:.3f}"
            rows.append(f"{label:<48}{counts['params']:>12,}{millions:>12}{share:>8.1%}")
    return rows


def format_cell(label: str, cell: dict[str, Any]) -> list[str]:
    height, width = cell["size"]
    counts = (
        f"{label} at {height}x{width}, {cell['num_classes']} classes: {cell['params']} parameters, "
        f"{cell['macs'] / 1e9:.4f} GMACs (fvcore-style {cell['fvcore_total'] / 1e9:.4f})"
    )
    return [counts, *map(format_latency, cell["latencies"])]


def format_latency(one: dict[str, Any]) -> str:
    peak = "" if one["peak_memory_mb"] is None else f", {one['peak_memory_mb']:.0f} MiB at peak"
    end = "input size" if one["upsample"] else "native stride"
    return (
        f"  {one['backend']}, logits at {end}: {one['p50_ms']:.1f} ms p50, {one['p95_ms']:.1f} ms"
        f" p95 over {one['repetitions']} repetitions, {one['threads']} thread(s){peak}"
    )
