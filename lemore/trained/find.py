"""Finds trained models by path or name, for every `--checkpoint` and `lemore.load`.

A name is weights.pt of a fine-tuning or an import, its folder, a shared model folder,
hf://owner/name, a model that comes with the package, or a training below results/ as
<run>/<dataset>/<model>/<seed>, of which any unambiguous part is enough.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from lemore.config import checkpoints
from lemore.config.checkpoints import HUB
from lemore.config.formats import find_kind
from lemore.config.jobs import FinetuneJob
from lemore.config.read import build, convert, read_yaml
from lemore.config.recipe import Test
from lemore.config.values import Note
from lemore.evaluation import segmentation
from lemore.runtime import checkpoint
from lemore.runtime.files import read_json
from lemore.trained import folder
from lemore.trained.checkpoint import Classes, Record, Trained, select_tensors

HELP = (
    "weights.pt, a shared model folder, hf://owner/name, a model that comes with lemore, or a "
    "training below results/ as <run>/<dataset>/<model>/<seed>, of which what is unambiguous is "
    "enough"
)
HELP_EXPORTED = f"{HELP}; or a file of lemore export (.onnx, .xml, .pte, .tflite)"
DATA_DIR = Path("resources/datasets")


def read_trained(name: str | os.PathLike[str]) -> Trained:
    """Reads the trained model that a path or name stands for; ValueError if there is none."""
    path = find_checkpoint(os.fspath(name))
    return folder.read_folder(path) if path.is_dir() else _read_file(path)


def read_model(name: str | os.PathLike[str]) -> Trained:
    """Reads a trained model that need only run: also an exported file."""
    from lemore.trained.exported_file import read_exported  # trainings spare what opens it

    path = find_checkpoint(os.fspath(name))
    return read_exported(path) if find_kind(path.name) else read_trained(path)


def find_checkpoint(name: str) -> Path:
    """Finds the checkpoint file or model folder of a path or name, and downloads hf://."""
    return (
        folder.download_folder(name) if name.startswith(HUB) else checkpoints.find_checkpoint(name)
    )


def _read_file(path: Path) -> Trained:
    if find_kind(path.name):
        raise ValueError(
            f"{path}: an exported file, which can be run, but has no tensors to take; give the "
            "checkpoint that it was made from"
        )
    content = checkpoint.load(path)
    if not isinstance(content, dict) or not {"state_dict", "config"} <= content.keys():
        raise ValueError(
            f"{path}: holds no 'state_dict' and 'config'; expected weights.pt of `lemore finetune` "
            "or `lemore import-weights` (which takes other programs' weights)"
        )
    config = content["config"]
    if not isinstance(config, dict):
        raise ValueError(f"{path}: 'config' is no mapping")
    if "backbone_name" in config:
        raise ValueError(f"{path}: a pretrained backbone, not a segmentation model; fine-tune it")
    job = build(FinetuneJob, config, str(path), "config.")
    state = select_tensors(content["state_dict"], job, str(path))
    classes = None
    if content.get("classes") is not None:  # older files have none
        classes = build(Classes, content["classes"], str(path), "classes.")
    record = _read_record(path, content["state_dict"])
    told = content.get("start_licences", ())
    licences = convert(tuple[Note, ...], told, str(path), "start_licences")
    record = replace(record, start_licences=licences)
    return Trained(str(path), job, state, record, _read_test(path, job), classes)


def _read_record(path: Path, state: dict[str, Any]) -> Record:
    """Reads the record in run.json beside the weights; ValueError if it is of other weights."""
    digest = checkpoint.hash_tensors(state)
    run_json = path.parent / "run.json"
    if not run_json.exists():
        return Record(0, 0, "", "", digest, "", "")
    run = read_json(run_json)
    if digest != run["weights_sha256"]:
        raise ValueError(f"{path}: these are not the weights that {run_json} records; train again")
    same = ("seed", "command", "git", "weights_sha256", "mlflow_run_id")
    chosen = run.get("chosen", {"trained": run["iterations"], "text": ""})
    return Record(
        **{name: run[name] for name in same},
        iterations=chosen["trained"],  # of older files, "iterations" is the recipe's
        pretrain_run_id=run["parents"].get("pretrain", ""),
        start=_describe_start(run["start"]) if "start" in run else "",
        chosen=chosen["text"],
    )


def _describe_start(start: dict[str, Any]) -> str:
    """Names the model that a training started from, without the place where it lay."""
    kept = f"{start['kept']} of {start['of']} tensors"
    return f"{start['model']} on {start['dataset']}, of which {kept} were kept"


def _read_test(path: Path, job: FinetuneJob) -> Test:
    """Reads the test settings of the file's workflow, else whole images at its scale."""
    names = f"evaluate/{job.dataset}/{job.model_name}.yaml"
    for results in path.absolute().parents[4:5]:
        config = results / "config" / names
        if config.is_file():
            return build(Test, read_yaml(config)["test"], str(config), "test.")
    return segmentation.make_plain_test(job.train.img_scale)
