"""The figures of a run as PNG and PDF, each with its description for those who cannot see it."""

import logging
from collections.abc import Sequence
from pathlib import Path

from lemore.config.read import did_you_mean
from lemore.data.store import Store
from lemore.reporting.figures import (
    ablation,
    boxes,
    classes,
    comparison,
    confusion,
    cost,
    curves,
    deploy,
)
from lemore.reporting.figures.style import save_figure
from lemore.reporting.tables.columns import read_csv
from lemore.reporting.tables.results import (
    check_one_configuration,
    check_one_dataset,
    label_models,
    name_models,
    pick_first_seeds,
    read_results,
)
from lemore.runtime.files import read_json
from lemore.runtime.tracking.metrics_file import MetricsFile
from lemore.stages.examples import read_box_examples, read_examples

log = logging.getLogger(__name__)


def draw_cost(table: str, evaluations: Sequence[str], prefix: str) -> None:
    """Draws mIoU against parameters, MACs and latency from a table of `lemore table`.

    evaluations: result files, from which the models' printed names come.
    """
    rows, named = read_csv(table), label_models(read_results(evaluations, "evaluate"))
    title = f"Accuracy and cost: {Path(table).stem}"
    save_figure(cost.draw(rows, named), prefix, title, cost.describe(rows, named))
    log.info("figure %s.{png,pdf}", prefix)


def draw_ablation(table: str, prefix: str) -> None:
    """Draws what each of LeMoRe's parts adds, from a table of `lemore table`."""
    rows = read_csv(table)
    title = f"Ablation: {Path(table).stem}"
    save_figure(ablation.draw(rows), prefix, title, ablation.describe(rows))
    log.info("figure %s.{png,pdf}", prefix)


def draw_deployments(deployments: Sequence[str], dataset: str, prefix: str) -> None:
    """Draws mIoU against latency for each format of the models that a dataset deploys."""
    results = [r for r in read_results(deployments, "deploy") if r["dataset"] == dataset]
    title = f"Accuracy and latency by format: {dataset}"
    save_figure(deploy.draw(results), prefix, title, deploy.describe(results))
    log.info("figure %s.{png,pdf}", prefix)


def draw_results(evaluations: Sequence[str], trainings: Sequence[str], folder: str) -> None:
    """Draws IoU by class, the confusion and, where there are trainings, their curves.

    Of detectors it draws the curves alone: ValueError if there are no trainings either.

    evaluations: result files of one dataset. trainings: their run.json files.
    """
    results = read_results(evaluations, "evaluate")
    check_one_dataset(results)
    dataset = results[0]["dataset"]
    of_labels = (("IoU by class", classes), ("Confusion", confusion))
    drawn = of_labels if "iou" in results[0] else ()
    if not drawn and not trainings:
        raise ValueError(
            f"{results[0]['file']}: of a detector only the curves of its training are drawn; "
            "give its run.json with --trainings"
        )
    for title, module in drawn:
        prefix = f"{folder}/{module.__name__.split('.')[-1]}_{dataset}"
        words = module.describe(results)
        save_figure(module.draw(results), prefix, f"{title}: {dataset}", words)
    recorded = [_read_training(path, name_models(results)) for path in trainings]
    if recorded:
        scenes = any(result["scenes"] for result in results)
        words = curves.describe(recorded, dataset, scenes)
        figure = curves.draw(recorded, scenes)
        save_figure(figure, f"{folder}/curves_{dataset}", f"Training curves: {dataset}", words)
    log.info("figures of %s in %s", dataset, folder)


def _read_training(path: str, named: dict[str, str]) -> curves.RecordedTraining:
    """Reads the metrics of a training from the file beside its run.json."""
    record = read_json(path)
    rows = MetricsFile(Path(path).with_name("metrics.jsonl")).read()
    if not rows:
        raise ValueError(f"{path}: no metrics.jsonl beside it; train again")
    model: str = record["model"]
    return curves.RecordedTraining(named.get(model, model), record["seed"], rows)


def draw_comparison(
    evaluations: Sequence[str],
    models: Sequence[str],
    data: str,
    split: str,
    images: Sequence[str],
    prefix: str,
) -> None:
    """Draws chosen images of a prepared dataset with their labels and the models' predictions:
    label maps, or boxes.

    Of each model, the evaluation with the smallest seed is shown.
    """
    results = read_results(evaluations, "evaluate")
    check_one_configuration(results)
    by_model = {result["model"]: result for result in pick_first_seeds(results).values()}
    for model in models:
        if model not in by_model:
            raise ValueError(
                f"no evaluation of model '{model}' was given{did_you_mean(model, by_model)}"
            )
    chosen = [by_model[model] for model in models]
    store = Store(data, split)
    printed = [name_models(results)[model] for model in models]
    scenes = any(result["scenes"] for result in chosen)
    if store.task == "detection":
        boxed = read_box_examples(store, images, chosen)
        figure = boxes.draw(boxed, printed, scenes)
        words = boxes.describe(boxed, printed, scenes)
    else:
        shown = read_examples(store, images, chosen)
        figure = comparison.draw(shown, printed, store.classes, store.read_colors(), scenes)
        words = comparison.describe(shown, printed, scenes)
    save_figure(figure, prefix, f"Predictions: {chosen[0]['dataset']}", words)
    log.info("figure %s.{png,pdf}", prefix)
