"""Writes a trained model as a folder to share, with a card that describes it."""

import json
import logging
import re
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lemore import __version__
from lemore.config.dataset import NOT_STATED
from lemore.config.model import get_start
from lemore.config.read import convert, plain
from lemore.config.recipe import Train
from lemore.config.values import Note
from lemore.reporting.pages import model_card
from lemore.reporting.tables.results import read_results
from lemore.runtime.checkpoint import hash_tensors
from lemore.trained.checkpoint import Trained
from lemore.trained.classes import describe_difference, find_classes, find_dataset
from lemore.trained.find import read_trained
from lemore.trained.folder import CARD, FILES, write_folder

log = logging.getLogger(__name__)


def share_model(
    checkpoint: str,
    output: Path,
    *,
    evaluation: Path | None,
    half: bool,
    licence: str,
    overwrite: bool,
    renew_card: bool,
    data_dir: Path,
) -> None:
    """Writes folder `output`; ValueError if it holds a model already and `overwrite` is not set."""
    trained = read_trained(checkpoint)
    scores = read_evaluation(evaluation, trained) if evaluation else None
    if half:
        trained = replace(trained, state_dict=round_tensors(trained.state_dict, trained.source))
    files = [output / name for name in FILES]
    existing = [path for path in files if path.exists()]
    if existing and not overwrite:
        raise ValueError(f"{existing[0]}: exists already; --overwrite replaces the model")
    trained = replace(trained, licence=licence or choose_licence(trained))
    if not trained.licence:
        log.warning("%s: the licence of the weights is not known; --licence states it", output)
    for start in trained.record.start_licences:
        if start != trained.licence:
            log.warning("%s: made from weights whose terms hold for it too: %s", output, start)
    classes = find_classes(trained, data_dir)
    if scores is not None and trained.classes is not None:
        scores = order_scores(scores, trained.classes.names)
    facts = describe_model(trained) | {"category_ids": classes.category_ids}
    card = model_card.render(facts, classes.names, scores)
    card = read_changed_card(output / CARD, renew_card) or card
    write_folder(output, trained, classes, card)
    for path in files:
        print(f"{path} ({path.stat().st_size:,} bytes)")


def round_tensors(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Rounds floating-point tensors to float16; ValueError for numbers beyond its range."""
    rounded = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    for name, tensor in rounded.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(
                f"{source}: {name} has numbers beyond float16's range; leave out --half"
            )
    return rounded


def choose_licence(trained: Trained) -> str:
    """Returns the licence that a shared model states, else the terms of the data that it was
    trained on; "" where these are not known, or where the weights of others have their terms too.
    """
    job = trained.job
    dataset = find_dataset(job.dataset)
    of_others = job.run == "imported" or get_start(job.init)
    if trained.licence or of_others or dataset is None or dataset.licence == NOT_STATED:
        return trained.licence
    text = " ".join(dataset.licence.split())
    return convert(Note, text, f"config/datasets/{job.dataset}.yaml", "licence")


def read_changed_card(path: Path, renew: bool) -> str:
    """Returns a card that somebody has completed, with a warning; "" if a new one is needed."""
    text = "" if renew or not path.exists() else path.read_text(encoding="utf-8")
    if not text or model_card.is_as_written(text):
        return ""
    log.warning(
        "%s: changed by hand and kept, so it speaks of the model before; --renew-card replaces it",
        path,
    )
    return text


def read_evaluation(path: Path, trained: Trained) -> dict[str, Any]:
    """Reads the evaluation of these very weights; ValueError if it is of others."""
    (values,), record = read_results([path], "evaluate"), trained.record
    same_weights = values.get("weights_sha256") == record.weights_sha256
    same_run = record.mlflow_run_id != "" and values["finetune_run_id"] == record.mlflow_run_id
    if not same_weights and not same_run:
        raise ValueError(f"{path}: evaluates other weights than {trained.source}")
    return values


def order_scores(evaluation: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Puts the IoU, or AP, of each class into the order of the weights' classes, as the card lists
    them."""
    if sorted(evaluation["classes"]) != sorted(names):
        difference = describe_difference(names, evaluation["file"], evaluation["classes"])
        raise ValueError(f"--evaluation: {difference}; evaluate again")
    position = {name: k for k, name in enumerate(evaluation["classes"])}
    by_class = evaluation.keys() & {"iou", "ap_by_class"}
    return evaluation | {key: [evaluation[key][position[n]] for n in names] for key in by_class}


def describe_model(trained: Trained) -> dict[str, Any]:
    """Returns the card's facts about the model and its training."""
    job, record = trained.job, trained.record
    dataset = find_dataset(job.dataset)
    return {
        "name": job.model_name,
        "label": job.model.label,
        "backbone": job.model.backbone,
        "detects": job.model.task == "detection",
        "head": job.model.decode_head or job.model.detection_head,
        "dataset": job.dataset,
        "dataset_title": dataset.title if dataset else job.dataset,
        "data_licence": " ".join(dataset.licence.split()) if dataset else "",
        "licence": trained.licence,
        "scenes": bool(dataset and dataset.scenes),
        "parameters": sum(p.numel() for p in trained.unfolded().parameters()),
        "train": job.train,
        "recipe": describe_recipe(job.train),
        "test": trained.test,
        "weights_sha256": hash_tensors(trained.state_dict),
        "half": any(t.dtype == torch.float16 for t in trained.state_dict.values()),
        "init": job.init.partition(":")[0],
        "start": record.start,
        "start_licences": record.start_licences,
        "chosen": record.chosen,
        "seed": record.seed,
        "iterations": record.iterations,
        "command": re.sub(r"\s+", " ", record.command).replace("`", "'"),
        "git": record.git,
        "version": __version__,
    }


def describe_recipe(train: Train) -> dict[str, str]:
    """Returns the keys of a recipe that are not at their defaults, with their values as JSON."""
    described = {}
    for field in fields(train):
        value, default = plain(getattr(train, field.name)), plain(field.default)
        if field.name == "class_weight":
            default = "none"
        if field.default_factory is not MISSING:
            default = plain(field.default_factory())
        if default is MISSING or value == default:
            continue
        if isinstance(value, dict):
            value = {key: item for key, item in value.items() if item is not None}
        described[field.name] = json.dumps(value, ensure_ascii=False).replace("`", "'")
    return described
