"""Write a trained model as a folder to share: weights, configuration and model card.

The folder holds model.safetensors, config.json with all that is needed to rebuild the model and to
read its predictions (class names and colours among it), and README.md, to be read and completed
before it is published. `lemore.load` and every --checkpoint take the folder.

Example:
  lemore share --checkpoint camvid/lemore --output shared/lemore-camvid \\
    --evaluation results/camvid/evaluate/camvid/lemore/0.json
"""

import argparse
import logging
import re
from pathlib import Path
from typing import Any

from lemore import __version__
from lemore.reporting.pages import model_card
from lemore.runtime.files import read_json
from lemore.trained import classes as _classes
from lemore.trained import find, folder
from lemore.trained.checkpoint import Trained

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help=find.HELP)
    parser.add_argument("--evaluation", type=Path, help="JSON of `lemore evaluate`, for the card")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder's model")
    parser.add_argument(
        "--renew-card", action="store_true", help="with it a README.md changed by hand, else kept"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=_classes.DATA_DIR,
        help="prepared datasets, for the names of the classes",
    )


def run(args: argparse.Namespace) -> int:
    trained = find.read(args.checkpoint)
    evaluation = read_evaluation(args.evaluation, trained) if args.evaluation else None
    files = [args.output / name for name in folder.FILES]
    existing = [path for path in files if path.exists()]
    if existing and not args.overwrite:
        raise ValueError(f"{existing[0]}: exists already; --overwrite replaces the model")
    classes = _classes.of(trained, args.data_dir)
    card = model_card.render(facts(trained), classes.names, evaluation)
    card = kept_card(args.output / folder.CARD, args.renew_card) or card
    folder.write(args.output, trained, classes, card)
    for path in files:
        print(f"{path} ({path.stat().st_size:,} bytes)")
    return 0


def kept_card(path: Path, renew: bool) -> str:
    """The card that somebody has completed, with a warning; "" where a new one is to be written."""
    text = "" if renew or not path.exists() else path.read_text(encoding="utf-8")
    if not text or model_card.is_as_written(text):
        return ""
    log.warning(
        "%s: changed by hand and kept, so it speaks of the model before; --renew-card replaces it",
        path,
    )
    return text


def read_evaluation(path: Path, trained: Trained) -> dict[str, Any]:
    """The evaluation of these very weights; ValueError if it is of others."""
    values = read_json(path)
    if not isinstance(values, dict) or values.get("stage") != "evaluate":
        raise ValueError(f"{path}: not written by `lemore evaluate`")
    record = trained.record
    same_weights = values.get("weights_sha256") == record.weights_sha256
    same_run = record.mlflow_run_id != "" and values["finetune_run_id"] == record.mlflow_run_id
    if not same_weights and not same_run:
        raise ValueError(f"{path}: evaluates other weights than {trained.source}")
    return values


def facts(trained: Trained) -> dict[str, Any]:
    """What the card says of the model and its training."""
    settings, record = trained.job, trained.record
    dataset = _classes.configuration(settings.dataset)
    return {
        "name": settings.model_name,
        "label": settings.model.label,
        "backbone": settings.model.backbone,
        "decode_head": settings.model.decode_head,
        "dataset": settings.dataset,
        "dataset_title": dataset.title if dataset else settings.dataset,
        "licence": dataset.licence if dataset else "",
        "scenes": bool(dataset and dataset.scenes),
        "parameters": sum(p.numel() for p in trained.unfolded().parameters()),
        "train": settings.train,
        "test": trained.test,
        "init": settings.init.partition(":")[0],
        "seed": record.seed,
        "iterations": record.iterations,
        "command": re.sub(r"\s+", " ", record.command).replace("`", "'"),
        "git": record.git,
        "version": __version__,
    }
