"""Evaluate a fine-tuned checkpoint at the labels' original size.

Example:
  lemore evaluate --checkpoint results/scenes/finetune/ade20k_scenes/lemore/0/weights.pt \\
    --dataset ade20k_scenes --data-dir resources/datasets --json /tmp/lemore.json
  lemore evaluate ... --test mode=slide stride=[64,64]             # another geometry
  lemore evaluate ... --test ratios=[0.5,0.75,1,1.25,1.5,1.75] flip=true
"""

import argparse
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import torch

from lemore.config.read import build, parse_yaml, plain, positive
from lemore.config.recipe import Test
from lemore.data.store import Store
from lemore.evaluation import segmentation
from lemore.runtime.files import read_json, write_json
from lemore.runtime.process import count_cores, leave_with_owner
from lemore.runtime.tracking import run as tracking
from lemore.runtime.tracking.outbox import parent
from lemore.stages import evaluation_files, training
from lemore.trained.checkpoint import Trained
from lemore.trained.find import HELP, read_trained

log = logging.getLogger(__name__)
TABLES = "mlflow.loggedArtifacts"  # by this tag MLflow finds the tables of a run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help=HELP)
    parser.add_argument("--dataset", required=True, help="name of a prepared dataset")
    parser.add_argument(
        "--data-dir", type=Path, default=Path("resources/datasets"), help="prepared datasets"
    )
    parser.add_argument("--config", type=Path, help="resolved evaluation settings (YAML)")
    parser.add_argument(
        "--test",
        nargs="+",
        metavar="KEY=VALUE",
        default=[],
        help="changes to the test settings, values in YAML: those under `test:` of a recipe",
    )
    parser.add_argument("--gpu", action="store_true", help="run on the GPU")
    parser.add_argument("--threads", type=positive, default=count_cores(), help="CPU threads")
    parser.add_argument("--json", type=Path, required=True, help="file for the results")


def run(args: argparse.Namespace) -> int:
    leave_with_owner()
    evaluation_files.check_output(args.json)
    torch.set_num_threads(args.threads)
    device = segmentation.device_of(args.gpu)
    trained = read_trained(args.checkpoint)
    settings = load_settings(args, trained)
    changes = parse_changes(args.test)
    settings["test"] |= changes
    test = build(Test, settings["test"], "--test" if changes else str(args.config), "test.")
    store = Store(args.data_dir / args.dataset, test.split)
    check_classes(trained, store, args)
    settings["classes"] = settings["classes"] or list(store.classes)
    with tracking.track(_tracking_stage(args, settings, trained, test_mode(test))) as run:
        model = trained.network().to(device)
        keep = set(settings["images"])
        crop_size = trained.settings.train.crop_size
        title = f"evaluate {trained.settings.model_name} on {args.dataset}"
        evaluation = segmentation.evaluate(model, store, device, test, keep, crop_size, title=title)
        missing = keep - set(evaluation.predictions)
        if missing:
            first = ", ".join(store.name(i) for i in range(min(3, len(store))))
            raise ValueError(
                f"comparisons: {args.dataset} has no image named {sorted(missing)} in split "
                f"{test.split}; the first ones are {first}"
            )
        if evaluation.results["miou"] is None:
            raise ValueError(f"{args.dataset}: split {test.split} has no pixel that counts")
        predictions = evaluation_files.write_predictions(args.json, evaluation.predictions)
        record = describe(args, settings, trained, test)
        record |= evaluation.results | {"images": len(store), "predictions": predictions}
        record |= {"per_image": evaluation_files.write_per_image(args.json, evaluation.per_image)}
        record |= {"num_classes": store.num_classes}
        run.metrics(metrics(record))
        record |= {"mlflow_run_id": run.run_id}
        write_json(args.json, record)
        panels = evaluation_files.write_panels(args.json, store, evaluation.predictions)
        add_artifacts(run, record, args.json, panels)
    print(f"mIoU {100 * record['miou']:.2f} %, aAcc {100 * record['aacc']:.2f} % ({args.json})")
    return 0


def load_settings(args: argparse.Namespace, trained: Trained) -> dict[str, Any]:
    """The evaluation slice, or the checkpoint's own settings when it is evaluated by hand."""
    if args.config is not None:
        return training.load_slice(args.config, "test")
    own = args.dataset == trained.settings.dataset
    test = trained.test if own else segmentation.whole(trained.settings.train.img_scale)
    return {
        "run": "by hand",
        "dataset": args.dataset,
        "stands_for": None,
        "scenes": args.dataset.endswith("_scenes"),
        "classes": [],
        "images": [],
        "test": plain(test),
    }


def parse_changes(pairs: list[str]) -> dict[str, Any]:
    """Of --test: values by key; ValueError for what is no KEY=VALUE or given twice."""
    changes: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key in changes:
            fault = "is given twice" if equals else "is not KEY=VALUE"
            raise ValueError(f"--test: '{pair}' {fault}")
        changes[key] = parse_yaml(value, f"--test: {key}")
    return changes


def check_classes(trained: Trained, store: Store, args: argparse.Namespace) -> None:
    if trained.settings.num_classes != store.num_classes:
        raise ValueError(
            f"{args.checkpoint} predicts {trained.settings.num_classes} classes, dataset "
            f"{args.dataset} has {store.num_classes}; evaluate on the dataset it was trained on"
        )


def describe(
    args: argparse.Namespace, settings: dict[str, Any], trained: Trained, test: Test
) -> dict[str, Any]:
    recipe, record = trained.settings.train, trained.record
    return {
        "stage": "evaluate",
        "run": settings["run"],
        "dataset": args.dataset,
        "stands_for": settings["stands_for"],
        "scenes": settings["scenes"],
        "model": trained.settings.model_name,
        "label": trained.settings.model.label,
        "encoder": trained.settings.model.encoder,
        "seed": record.seed,
        "split": settings["test"]["split"],
        "classes": settings["classes"],
        "train_crop": list(recipe.crop_size),
        "test_mode": test_mode(test),
        "test_size": list(test.img_scale),
        "iterations": recipe.iterations,
        "recipe": recipe.source,
        "init": trained.settings.init.partition(":")[0],
        "device": "cuda" if args.gpu else "cpu",
        "finetune_run_id": record.mlflow_run_id,
        "pretrain_run_id": record.pretrain_run_id,
        "weights_sha256": record.weights_sha256,
        "command": training.command(),
        "code": training.git_version(),
        "modules": training.loaded_modules("evaluate"),
    }


def test_mode(test: Test) -> str:
    """In words that set it apart in tables: "whole", "whole, ratios 0.5 1, flip"."""
    single = test.ratios == (1.0,)
    ratios = [] if single else [f"ratios {' '.join(f'{ratio:g}' for ratio in test.ratios)}"]
    return ", ".join([test.mode, *ratios, *(["flip"] if test.flip else [])])


def _tracking_stage(
    args: argparse.Namespace, settings: dict[str, Any], trained: Trained, mode: str
) -> tracking.Stage:
    data, record = read_json(args.data_dir / args.dataset / "digest.json"), trained.record
    key = json.dumps([settings, record.weights_sha256, data["sha256"], args.dataset])
    name = f"{trained.settings.model_name} on {args.dataset}, seed {record.seed}"
    return tracking.Stage(
        experiment=f"{settings['run']}/{args.dataset}",
        name=f"evaluate {name}",
        identity={
            "stage": "evaluate",
            "run": settings["run"],
            "dataset": args.dataset,
            "model": trained.settings.model_name,
            "seed": str(record.seed),
            "test_mode": mode,
            "test_size": "x".join(map(str, settings["test"]["img_scale"])),
        },
        key=hashlib.sha256(key.encode()).hexdigest(),
        params={"test": settings["test"], "images": len(settings["images"])},
        parents={
            "pretrain": record.pretrain_run_id,
            "finetune": parent(vars(record)),
        },
        datasets=((args.dataset, data["sha256"], settings["test"]["split"]),),
        code=training.git_version(),
        measures=True,
    )


def metrics(record: dict[str, Any]) -> dict[str, float]:
    """Totals and per-class IoU, by the names that they have in MLflow."""
    split = record["split"]
    values = {"mIoU": "miou", "aAcc": "aacc", "mAcc": "macc", "fwIoU": "fwiou"}
    values |= {"mBoundaryIoU": "mean_boundary_iou"}
    found = {f"{split}/{name}": record[key] for name, key in values.items()}
    by_class = zip(record["classes"], record["iou"], strict=False)
    found |= {f"{split}/IoU/{name}": iou for name, iou in by_class}
    return {name: value for name, value in found.items() if value is not None}


def add_artifacts(
    run: tracking.Handle, record: dict[str, Any], path: Path, panels: list[Path]
) -> None:
    """The JSON, the table of classes and the kept label maps into MLflow, the latter also as
    panels beside the image and its ground truth."""
    run.artifact(path)
    run.artifact(path.parent / record["per_image"]["file"])
    for file in record["predictions"].values():
        run.artifact(path.parent / file, "predictions")
    for file in panels:
        run.artifact(file, "panels")
    if record["classes"]:
        run.artifact(evaluation_files.write_class_table(path, record))
        run.tag(TABLES, json.dumps([{"path": evaluation_files.PER_CLASS, "type": "table"}]))
