"""The MLflow run that holds the tables, figures and report of a whole run."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from lemore.runtime.files import hash_file, key_of, read_json, write_json
from lemore.runtime.provenance import find_commit
from lemore.runtime.tracking.pending_run import RunDescription
from lemore.runtime.tracking.tracked_run import track


def track_summary(
    run: str, evaluations: Sequence[Path], artifacts: Sequence[Path], output: Path
) -> None:
    """Logs the files and the mean mIoU or AP over seeds; writes the MLflow run's id to `output`."""
    digests = {str(path): hash_file(path) for path in artifacts}
    description = RunDescription(
        experiment=f"{run}/summary",
        name=f"summary of {run}",
        identity={"stage": "summary", "run": run},
        key=key_of(digests),
        params={},
        note="Tables and figures of the whole run; the evaluations are linked by their run ids.",
        code=find_commit(),
        measures=True,
    )
    with track(description) as tracked:
        tracked.record_metrics(average_accuracy(map(read_json, evaluations)))
        for path in artifacts:
            tracked.add_artifact(path, path.parent.name if path.suffix != ".html" else None)
        write_json(output, {"mlflow_run_id": tracked.run_id, "artifacts": digests})


def average_accuracy(evaluations: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Averages mIoU, or AP of detectors, over the seeds of each dataset and model, by the metric's
    name in MLflow."""
    values: dict[str, list[float]] = {}
    for record in evaluations:
        name, key = ("AP", "ap") if "ap" in record else ("mIoU", "miou")
        place = f"{record['dataset']}/{record['model']}/{name}"
        values.setdefault(place, []).append(record[key])
    return {name: mean(found) for name, found in values.items()}
