"""Draws figures of a run as PNG and PDF: from its tables, or from one dataset's results.

Examples:
  lemore figure cost --tables results/scenes/tables/ade20k_scenes.csv --output cost
  lemore figure results --evaluations results/scenes/evaluate/ade20k_scenes/*/0.json \\
    --output figures
"""

import argparse
import logging
from pathlib import Path

from lemore.config.read import did_you_mean
from lemore.data.store import Store
from lemore.reporting.figures import ablation, classes, comparison, confusion, cost, curves
from lemore.reporting.figures.style import save
from lemore.reporting.tables.results import Result, labels, names, one_configuration, read
from lemore.reporting.tables.writers import read_csv
from lemore.runtime.files import read_json
from lemore.runtime.tracking.metrics_file import Spool
from lemore.stages.examples import examples, first_seeds

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(
        dest="kind", required=True, metavar="cost|ablation|comparison|results"
    )
    costs = kinds.add_parser("cost", help="mIoU against parameters, MACs and latency")
    costs.add_argument("--evaluations", nargs="*", default=[], metavar="JSON", help="for the names")
    parts = kinds.add_parser("ablation", help="what each of LeMoRe's parts adds")
    for kind in (costs, parts):
        kind.add_argument("--tables", required=True, metavar="CSV", help="table of `lemore table`")
    results = kinds.add_parser(
        "results", help="IoU by class, confusion and training curves of one dataset"
    )
    results.add_argument("--trainings", nargs="*", default=[], metavar="JSON", help="run.json")
    compare = kinds.add_parser("comparison", help="image, ground truth, predictions")
    compare.add_argument("--data", required=True, metavar="DIR", help="prepared dataset")
    compare.add_argument("--images", required=True, nargs="+", metavar="NAME")
    compare.add_argument("--split", required=True)
    compare.add_argument("--models", required=True, nargs="+", metavar="MODEL")
    for kind in (results, compare):
        kind.add_argument("--evaluations", required=True, nargs="+", metavar="JSON")
    for kind in (costs, parts, compare):
        kind.add_argument(
            "--output", required=True, metavar="PREFIX", help="writes PREFIX.png and PREFIX.pdf"
        )
    results.add_argument(
        "--output", required=True, metavar="DIR", help="writes DIR/classes_<dataset>.png, ..."
    )


def run(args: argparse.Namespace) -> int:
    draw = {"cost": _cost, "ablation": _ablation, "comparison": _comparison, "results": _results}
    draw[args.kind](args)
    log.info("figures: %s in %s", args.kind, args.output)
    return 0


def _cost(args: argparse.Namespace) -> None:
    rows, named = read_csv(args.tables), labels(read(args.evaluations, "evaluate"))
    title = f"Accuracy and cost: {Path(args.tables).stem}"
    save(cost.draw(rows, named), args.output, title, cost.description(rows, named))


def _ablation(args: argparse.Namespace) -> None:
    rows = read_csv(args.tables)
    title = f"Ablation: {Path(args.tables).stem}"
    save(ablation.draw(rows), args.output, title, ablation.description(rows))


def _results(args: argparse.Namespace) -> None:
    evaluations = read(args.evaluations, "evaluate")
    dataset, folder = evaluations[0]["dataset"], Path(args.output)
    for name, title, module in (
        ("classes", "IoU by class", classes),
        ("confusion", "Confusion", confusion),
    ):
        words = module.description(evaluations)
        save(module.draw(evaluations), f"{folder}/{name}_{dataset}", f"{title}: {dataset}", words)
    trainings = _trainings(args.trainings, names(evaluations))
    if trainings:
        scenes = any(result["scenes"] for result in evaluations)
        words = curves.description(trainings, dataset, scenes)
        figure = curves.draw(trainings, scenes)
        save(figure, f"{folder}/curves_{dataset}", f"Training curves: {dataset}", words)


def _trainings(paths: list[str], named: dict[str, str]) -> list[curves.Training]:
    """What each training recorded, in the file beside its run.json."""
    found = []
    for path in paths:
        record = read_json(path)
        rows = Spool(Path(path).with_name("metrics.jsonl")).rows()
        if not rows:
            raise ValueError(f"{path}: no metrics.jsonl beside it; train again")
        model: str = record["model"]
        found.append(curves.Training(named.get(model, model), record["seed"], rows))
    return found


def _comparison(args: argparse.Namespace) -> None:
    evaluations = read(args.evaluations, "evaluate")
    one_configuration(evaluations)
    chosen = [_evaluation_of(model, evaluations) for model in args.models]
    store = Store(args.data, args.split)
    shown = examples(store, args.images, chosen)
    printed = names(evaluations)
    models = [printed[result["model"]] for result in chosen]
    scenes = any(result["scenes"] for result in chosen)
    figure = comparison.draw(shown, models, store.classes, store.colors(), scenes)
    title = f"Predictions: {chosen[0]['dataset']}"
    save(figure, args.output, title, comparison.description(shown, models, scenes))


def _evaluation_of(model: str, evaluations: list[Result]) -> Result:
    """The model's evaluation with the smallest seed."""
    mine = [result for result in first_seeds(evaluations).values() if result["model"] == model]
    if not mine:
        known = {result["model"] for result in evaluations}
        raise ValueError(f"no evaluation of model '{model}' was given{did_you_mean(model, known)}")
    return mine[0]
