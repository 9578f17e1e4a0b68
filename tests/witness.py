"""Compares the results of a change that must not change them with those of an earlier commit.

The same short run on CamVid (tests/witness/config.yaml) is made in a checkout of the commit and in
this one, on this machine, and all that must be equal is compared: every loss and every tensor to
the bit, evaluations, counts, the tree of results, the heads of the tables and the names in MLflow.

  python tests/witness.py BASE      # BASE: a commit; LEMORE_SAMPLES: the folder that holds camvid/
"""

import argparse
import csv
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "tests/witness/config.yaml"
# What differs between two runs of the same code: times, ids, the code's own names.
VARYING = {"code", "command", "device", "git", "key", "modules", "seconds", "torch"}
VARYING |= {"mlflow_run_id", "finetune_run_id", "latency", "latencies", "parents", "per_image"}
VARYING |= {"peak_memory_mb", "milliseconds_per_step", "max_memory_mb"}
VARYING |= {"time", "train/seconds_per_iteration", "train/data_share"}
COMMIT = "mlflow.source.git.commit"  # of a run in a clone; one side is none
NAMES = {
    "experiments": "select distinct name from experiments",
    "tags": f"select distinct key from tags where key != '{COMMIT}'",
    "metrics": "select distinct key from metrics",
    "params": "select distinct key from params",
    "runs": "select name from runs",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="commit to compare this checkout with")
    parser.add_argument("--keep", type=Path, help="folder for both witnesses (JSON)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        git("worktree", "add", "--detach", str(tree), args.base)
        try:
            before = make_witness(tree)
        finally:
            git("worktree", "remove", "--force", str(tree))
        here = Path(folder) / "here"
        shutil.copytree(
            ROOT, here, ignore=shutil.ignore_patterns(".*", "results", "mlruns", "logs")
        )
        after = make_witness(here)
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
        for name, witness in (("before", before), ("after", after)):
            (args.keep / f"{name}.json").write_text(json.dumps(witness, indent=1))
    differences = list(compare(before, after, ""))
    print("\n".join(differences) or f"equal: {', '.join(before)}")
    return bool(differences)


def git(*command: str) -> None:
    subprocess.run(["git", *command], cwd=ROOT, check=True, capture_output=True)


def make_witness(checkout: Path) -> dict[str, Any]:
    """Runs the pipeline in a checkout and gathers what must not change."""
    archives = checkout / "resources/archives"
    archives.mkdir(parents=True)
    (archives / "camvid").symlink_to(Path(os.environ["LEMORE_SAMPLES"]).resolve() / "camvid")
    env = os.environ | {
        "PYTHONPATH": str(checkout),
        "MLFLOW_TRACKING_URI": f"sqlite:///{checkout / 'mlflow.db'}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = ["snakemake", "--cores", "2", "--quiet", "rules", "--configfile", str(CONFIG)]
    subprocess.run(command, cwd=checkout, env=env, check=True)
    results = checkout / "results/witness"
    return {
        "losses": {
            p.parts[-3]: read_losses(p) for p in results.glob("finetune/*/*/0/metrics.jsonl")
        },
        "weights": {
            p.parts[-3]: read_tensors(p) for p in results.glob("finetune/*/*/0/weights.pt")
        },
        "records": {
            str(path.relative_to(results)): without_varying(json.loads(path.read_text()))
            for path in sorted(results.rglob("*.json"))
            if path.name != "summary.json"
        },
        "per_image": {
            str(path.relative_to(results)): read_arrays(path) for path in results.rglob("*.npz")
        },
        "tree": sorted(str(p.relative_to(results)) for p in results.rglob("*") if p.is_file()),
        "heads": {path.name: read_head(path) for path in sorted(results.glob("tables/*.csv"))},
        "mlflow": read_names(checkout / "mlflow.db"),
    }


def read_losses(path: Path) -> list[Any]:
    """Rows of a training's metrics, as written; floats are printed so that no bit is lost."""
    rows = map(json.loads, path.read_text().splitlines())
    return [without_varying(row) for row in rows]


def read_tensors(path: Path) -> dict[str, str]:
    """Tensor name -> shape, dtype and digest of its bytes."""
    state = torch.load(path, weights_only=True)["state_dict"]
    return {name: describe(tensor) for name, tensor in sorted(state.items())}


def describe(tensor: torch.Tensor) -> str:
    data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"{tuple(tensor.shape)} {tensor.dtype} {hashlib.sha256(data).hexdigest()}"


def read_arrays(path: Path) -> dict[str, str]:
    with np.load(path) as arrays:
        return {name: hashlib.sha256(arrays[name].tobytes()).hexdigest() for name in arrays.files}


def read_head(path: Path) -> list[str]:
    with open(path, newline="") as file:
        return next(csv.reader(file))


def read_names(store: Path) -> dict[str, list[str]]:
    with sqlite3.connect(store) as connection:
        return {
            what: sorted(row[0] for row in connection.execute(query))
            for what, query in NAMES.items()
        }


def without_varying(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_varying(v) for k, v in value.items() if k not in VARYING}
    return [without_varying(item) for item in value] if isinstance(value, list) else value


def compare(before: Any, after: Any, place: str) -> Iterator[str]:
    """Lines that say where two witnesses differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            if key not in before or key not in after:
                yield f"{place}/{key}: only {'after' if key in after else 'before'}"
            else:
                yield from compare(before[key], after[key], f"{place}/{key}")
    elif before != after:
        lists = isinstance(before, list) and isinstance(after, list)
        gone = [item for item in before if item not in after] if lists else [before]
        new = [item for item in after if item not in before] if lists else [after]
        yield f"{place}: {str(gone)[:400]} -> {str(new)[:400]}"


if __name__ == "__main__":
    sys.exit(main())
