"""Draws one figure of a run: cost, classes or comparison; PNG and PDF."""

import argparse
import logging
from pathlib import Path

import numpy as np
from PIL import Image

from lemore.config import did_you_mean
from lemore.data.store import Store
from lemore.reporting import classes, comparison, cost
from lemore.reporting.results import Result, labels, read
from lemore.reporting.style import save
from lemore.reporting.writers import read_csv

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="cost|classes|comparison")
    costs = kinds.add_parser("cost", help="mIoU against parameters, MACs and latency")
    costs.add_argument("--tables", required=True, metavar="CSV", help="table of `lemore table`")
    costs.add_argument("--evaluations", nargs="*", default=[], metavar="JSON", help="for the names")
    by_class = kinds.add_parser("classes", help="IoU by class of the models of one dataset")
    compare = kinds.add_parser("comparison", help="image, ground truth, predictions")
    compare.add_argument("--data", required=True, metavar="DIR", help="prepared dataset")
    compare.add_argument("--images", required=True, nargs="+", metavar="NAME")
    compare.add_argument("--split", required=True)
    compare.add_argument("--models", required=True, nargs="+", metavar="MODEL")
    for kind in (by_class, compare):
        kind.add_argument("--evaluations", required=True, nargs="+", metavar="JSON")
    for kind in (costs, by_class, compare):
        kind.add_argument(
            "--output", required=True, metavar="PREFIX", help="writes PREFIX.png and PREFIX.pdf"
        )


def run(args: argparse.Namespace) -> int:
    evaluations = read(args.evaluations, "evaluate")
    draw = {"cost": _cost, "classes": _classes, "comparison": _comparison}[args.kind]
    draw(args, evaluations)
    log.info("figure %s in %s.{png,pdf}", args.kind, args.output)
    return 0


def _cost(args: argparse.Namespace, evaluations: list[Result]) -> None:
    rows, names = read_csv(args.tables), labels(evaluations)
    title = f"Accuracy and cost: {Path(args.tables).stem}"
    figure = cost.draw(rows, names)
    save(figure, args.output, title, cost.description(rows, names))


def _classes(args: argparse.Namespace, evaluations: list[Result]) -> None:
    figure = classes.draw(evaluations)
    title = f"IoU by class: {evaluations[0]['dataset']}"
    save(figure, args.output, title, classes.description(evaluations))


def _comparison(args: argparse.Namespace, evaluations: list[Result]) -> None:
    chosen = [_evaluation_of(model, evaluations) for model in args.models]
    store = Store(args.data, args.split)
    examples = [_example(store, name, chosen) for name in args.images]
    models = [result["label"] for result in chosen]
    scenes = any(result["scenes"] for result in chosen)
    figure = comparison.draw(examples, models, store.classes, store.colors(), scenes)
    title = f"Predictions: {chosen[0]['dataset']}"
    save(figure, args.output, title, comparison.description(examples, models, scenes))


def _evaluation_of(model: str, evaluations: list[Result]) -> Result:
    """The model's evaluation with the smallest seed."""
    mine = [result for result in evaluations if result["model"] == model]
    if not mine:
        known = {result["model"] for result in evaluations}
        raise ValueError(f"no evaluation of model '{model}' was given{did_you_mean(model, known)}")
    return min(mine, key=lambda result: result["seed"])


def _example(store: Store, name: str, chosen: list[Result]) -> comparison.Example:
    image, label = store.read(store.find(name))
    predictions = tuple(_prediction(result, name) for result in chosen)
    return comparison.Example(name, image, label, predictions)


def _prediction(result: Result, name: str) -> np.ndarray:
    """The label map H W uint8 that an evaluation kept of an image."""
    if name not in result["predictions"]:
        raise ValueError(
            f"{result['file']}: no prediction of image '{name}' was kept"
            f"{did_you_mean(name, result['predictions'])}"
        )
    with Image.open(Path(result["file"]).parent / result["predictions"][name]) as image:
        return np.asarray(image)
