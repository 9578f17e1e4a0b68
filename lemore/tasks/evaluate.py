"""Evaluate a fine-tuned checkpoint at the labels' original size.

Example:
  lemore evaluate --checkpoint results/scenes/finetune/ade20k_scenes/lemore/0/weights.pt \\
    --dataset ade20k_scenes --data-dir resources/datasets --json /tmp/lemore.json
"""

import argparse
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import cv2
import torch

from lemore.config import build
from lemore.data.store import Store
from lemore.files import read_json, write_atomic, write_json
from lemore.machine import cores
from lemore.models.fold import fold
from lemore.models.segmentor import Segmentor
from lemore.tasks import _segmentation, _stage
from lemore.tasks._finetune import make_model
from lemore.training import checkpoint, tracking
from lemore.training.process import leave_with_owner
from lemore.training.recipe import Test, Train

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="weights.pt of a fine-tuning"
    )
    parser.add_argument("--dataset", required=True, help="name of a prepared dataset")
    parser.add_argument(
        "--data-dir", type=Path, default=Path("resources/datasets"), help="prepared datasets"
    )
    parser.add_argument("--config", type=Path, help="resolved evaluation settings (YAML)")
    parser.add_argument("--gpu", action="store_true", help="run on the GPU")
    parser.add_argument("--threads", type=int, default=cores(), help="CPU threads")
    parser.add_argument("--json", type=Path, required=True, help="file for the results")


def run(args: argparse.Namespace) -> int:
    leave_with_owner()
    if args.gpu and not torch.cuda.is_available():
        raise ValueError("a GPU is asked for (--gpu), but torch sees none on this machine")
    torch.set_num_threads(args.threads)
    content = checkpoint.load(args.checkpoint)
    recipe = build(Train, content["config"]["train"], str(args.checkpoint), "train.")
    settings = load_settings(args, recipe)
    test = build(Test, settings["test"], str(args.config), "test.")
    trained = training_record(args.checkpoint, content)
    store = Store(args.data_dir / args.dataset, test.split)
    check_classes(content["config"], store, args)
    with tracking.track(_tracking_stage(args, content["config"], settings, trained)) as run:
        device = torch.device("cuda" if args.gpu else "cpu")
        model = load_model(content, recipe).to(device)
        keep = set(settings["images"])
        evaluation = _segmentation.evaluate(model, store, device, test, keep, recipe.crop_size)
        missing = keep - set(evaluation.predictions)
        if missing:
            first = ", ".join(store.name(i) for i in range(min(3, len(store))))
            raise ValueError(
                f"comparisons: {args.dataset} has no image named {sorted(missing)} in split "
                f"{test.split}; the first ones are {first}"
            )
        predictions = write_predictions(args.json, evaluation.predictions)
        record = describe(args, content["config"], settings, trained, recipe)
        record |= evaluation.results | {"images": len(store), "predictions": predictions}
        record |= {"mlflow_run_id": run.run_id, "num_classes": store.num_classes}
        write_json(args.json, record)
        report_metrics(run, record, args.json)
    print(f"mIoU {100 * record['miou']:.2f} %, aAcc {100 * record['aacc']:.2f} % ({args.json})")
    return 0


def load_settings(args: argparse.Namespace, recipe: Train) -> dict[str, Any]:
    """The evaluation slice, or plain settings when a checkpoint is evaluated by hand."""
    if args.config is not None:
        return _stage.load_slice(args.config)
    test = vars(_segmentation.whole(recipe.img_scale))
    return {
        "run": "by hand",
        "dataset": args.dataset,
        "stands_for": None,
        "scenes": args.dataset.endswith("_scenes"),
        "classes": [],
        "images": [],
        "test": {k: list(v) if isinstance(v, tuple) else v for k, v in test.items()},
    }


def training_record(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """run.json beside the checkpoint; ValueError if it speaks of other weights."""
    run_json = path.parent / "run.json"
    if not run_json.exists():
        return {
            "seed": 0,
            "iterations": 0,
            "mlflow_run_id": "",
            "parents": {},
            "weights_sha256": "",
        }
    record = read_json(run_json)
    if checkpoint.tensor_digest(content["state_dict"]) != record["weights_sha256"]:
        raise ValueError(f"{path}: these are not the weights that {run_json} records; train again")
    return record


def check_classes(config: dict[str, Any], store: Store, args: argparse.Namespace) -> None:
    if config["num_classes"] != store.num_classes:
        raise ValueError(
            f"{args.checkpoint} predicts {config['num_classes']} classes, dataset {args.dataset} "
            f"has {store.num_classes}; evaluate on the dataset it was trained on"
        )


def load_model(content: dict[str, Any], recipe: Train) -> Segmentor:
    """The trained model, folded for inference."""
    model = make_model(content["config"], recipe)
    model.load_state_dict(content["state_dict"])
    return fold(model.eval())


def write_predictions(path: Path, predictions: dict[str, Any]) -> dict[str, str]:
    """Index PNGs of train ids beside the JSON; returns image name -> file."""
    files = {}
    for name, labels in sorted(predictions.items()):
        file = Path(path.stem) / f"{name}.png"
        write_atomic(path.parent / file, cv2.imencode(".png", labels)[1].tobytes())
        files[name] = str(file)
    return files


def describe(
    args: argparse.Namespace,
    config: dict[str, Any],
    settings: dict[str, Any],
    trained: dict[str, Any],
    recipe: Train,
) -> dict[str, Any]:
    return {
        "stage": "evaluate",
        "run": settings["run"],
        "dataset": args.dataset,
        "stands_for": settings["stands_for"],
        "scenes": settings["scenes"],
        "model": config["model_name"],
        "label": config["model"]["label"],
        "encoder": config["model"]["encoder"],
        "seed": trained["seed"],
        "split": settings["test"]["split"],
        "classes": settings["classes"],
        "train_crop": list(recipe.crop_size),
        "test_mode": settings["test"]["mode"],
        "iterations": recipe.iterations,
        "recipe": recipe.source,
        "device": "cuda" if args.gpu else "cpu",
        "finetune_run_id": trained["mlflow_run_id"],
        "pretrain_run_id": trained["parents"].get("pretrain", ""),
        "command": _stage.command(),
        "code": _stage.git_version(),
        "modules": _stage.loaded_modules("evaluate"),
    }


def _tracking_stage(
    args: argparse.Namespace,
    config: dict[str, Any],
    settings: dict[str, Any],
    trained: dict[str, Any],
) -> tracking.Stage:
    data = read_json(args.data_dir / args.dataset / "digest.json")
    key = json.dumps([settings, trained["weights_sha256"], data["sha256"], args.dataset])
    name = f"{config['model_name']} on {args.dataset}, seed {trained['seed']}"
    return tracking.Stage(
        experiment=f"{settings['run']}/{args.dataset}",
        name=f"evaluate {name}",
        identity={
            "stage": "evaluate",
            "run": settings["run"],
            "dataset": args.dataset,
            "model": config["model_name"],
            "seed": str(trained["seed"]),
        },
        key=hashlib.sha256(key.encode()).hexdigest(),
        params={"test": settings["test"], "images": len(settings["images"])},
        parents={
            "pretrain": trained["parents"].get("pretrain", ""),
            "finetune": trained["mlflow_run_id"],
        },
        datasets=((args.dataset, data["sha256"], settings["test"]["split"]),),
        code=_stage.git_version(),
    )


def report_metrics(run: tracking.Handle, record: dict[str, Any], path: Path) -> None:
    """Totals and per-class IoU into MLflow, the JSON and the kept label maps as artifacts."""
    split = record["split"]
    values = {"mIoU": "miou", "aAcc": "aacc", "mAcc": "macc", "fwIoU": "fwiou"}
    metrics = {f"{split}/{name}": record[key] for name, key in values.items()}
    for name, iou in zip(record["classes"], record["iou"], strict=False):
        if iou is not None:
            metrics[f"{split}/IoU/{name}"] = iou
    run.metrics({name: value for name, value in metrics.items() if value is not None})
    run.artifact(path)
    for file in record["predictions"].values():
        run.artifact(path.parent / file, "predictions")
