"""Put a run's tables, figures and report into one MLflow run, with mean mIoU as metrics.

Example:
  lemore summary --run scenes --evaluations results/scenes/evaluate/*/*/*.json \\
    --artifacts results/scenes/report.html --json summary.json
"""

import argparse
import hashlib
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from lemore.runtime.files import read_json, sha256, write_json
from lemore.runtime.provenance import find_commit
from lemore.runtime.tracking import run as tracking


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--evaluations", type=Path, nargs="*", default=[], metavar="JSON")
    parser.add_argument("--artifacts", type=Path, nargs="*", default=[], metavar="FILE")
    parser.add_argument("--json", type=Path, required=True, help="file for the run's id")


def run(args: argparse.Namespace) -> int:
    digests = {str(path): sha256(path) for path in args.artifacts}
    stage = tracking.Stage(
        experiment=f"{args.run}/summary",
        name=f"summary of {args.run}",
        identity={"stage": "summary", "run": args.run},
        key=hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest(),
        params={},
        note="Tables and figures of the whole run; the evaluations are linked by their run ids.",
        code=find_commit(),
        measures=True,
    )
    with tracking.track(stage) as run:
        run.metrics(means(map(read_json, args.evaluations)))
        for path in args.artifacts:
            run.artifact(path, path.parent.name if path.suffix != ".html" else None)
        write_json(args.json, {"mlflow_run_id": run.run_id, "artifacts": digests})
    return 0


def means(evaluations: Iterable[dict[str, Any]]) -> dict[str, float]:
    """mIoU of each dataset and model, the mean over the seeds, by its name in MLflow."""
    values: dict[str, list[float]] = {}
    for record in evaluations:
        values.setdefault(f"{record['dataset']}/{record['model']}/mIoU", []).append(record["miou"])
    return {name: mean(found) for name, found in values.items()}
