"""Tries points of a small search space on the pipeline's cluster, with Ray Tune."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lemore.runtime.ray import cluster
from lemore.runtime.ray.cluster import Resources
from lemore.runtime.ray.execute import run
from lemore.runtime.worker import Worker

MOST_LOSSES = 3  # of one trial's worker


@dataclass(frozen=True)
class Space:
    """Ranges, from which points are drawn evenly on a log scale, and choices."""

    ranges: dict[str, tuple[float, float]]
    choices: dict[str, Sequence[Any]]


def try_points(
    function: str,
    job: Any,
    worker: Worker,
    space: Space,
    points: list[dict[str, Any]],
    trials: int,
    seed: int,
    resources: Resources,
    folder: Path,
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Returns (point, result) of `trials` points: the given ones first, the others drawn.

    `function` ("module:name") is called with the job, the worker and the point; it may be called
    again for the same point, after a loss. RuntimeError if a trial fails.
    """
    resources = cluster.connect(resources)
    from ray import tune
    from ray.tune.search.basic_variant import BasicVariantGenerator

    drawn: dict[str, Any] = {k: tune.loguniform(*v) for k, v in space.ranges.items()}
    drawn |= {name: tune.choice(list(values)) for name, values in space.choices.items()}
    trial = tune.with_parameters(_run_trial, function=function, job=job, worker=worker)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": resources.cpus, "gpu": resources.gpus}),
        param_space=drawn,
        tune_config=tune.TuneConfig(
            num_samples=trials,
            search_alg=BasicVariantGenerator(points_to_evaluate=points, random_state=seed),
        ),
        run_config=tune.RunConfig(
            name=f"tune-{uuid.uuid4().hex[:8]}",
            storage_path=str(folder),
            failure_config=tune.FailureConfig(max_failures=MOST_LOSSES),
            verbose=0,
        ),
    )
    grid = tuner.fit()
    found = [(result.config or {}, result.metrics or {}) for result in grid]
    errors = [*map(str, grid.errors), *(m["error"] for _, m in found if "error" in m)]
    if errors:
        raise RuntimeError(f"{len(errors)} of {trials} trials failed: {errors[0]}")
    return [(point, metrics["result"]) for point, metrics in found]


def _run_trial(point: dict[str, Any], function: str, job: Any, worker: Worker) -> None:
    from ray import tune

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        tune.report({"result": run(function, job, worker, point)})
    except Exception as error:  # Ray would try it again, as if its worker had died
        tune.report({"error": f"{type(error).__name__}: {error}"})
