"""One trial of a search, called where it runs."""

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from lemore.config.read import build
from lemore.config.recipe import Train
from lemore.data.part import Part
from lemore.data.store import Store
from lemore.evaluation import segmentation
from lemore.models.network import make_model
from lemore.runtime import checkpoint
from lemore.runtime.files import read_json, write_json
from lemore.runtime.lock import hold_lock
from lemore.stages import finetune

DYING_SECONDS = 60.0  # that a killed search's process may hold its trial


def trial(payload: dict[str, Any]) -> dict[str, Any]:
    """{"miou": fraction or None if it diverged, "seconds"} of the payload's point.

    A trial that was interrupted goes on, and one that has its result is not run again. Held if
    another process, perhaps of a search that was killed, is at this very trial and does not end.
    """
    config, point = changed(payload["config"], payload["point"]), payload["point"]
    text = json.dumps([config["train"], point["seed"]], sort_keys=True)
    folder = Path(payload["folder"]) / hashlib.sha256(text.encode()).hexdigest()[:16]
    with hold_lock(folder, DYING_SECONDS):
        if not (folder / "result.json").exists():
            _run(payload, config, folder)
        return read_json(folder / "result.json")


def _run(payload: dict[str, Any], config: dict[str, Any], folder: Path) -> None:
    """Leaves nothing but result.json in the trial's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    told = {"config": config, "seed": payload["point"]["seed"], "folder": str(folder)}
    result: dict[str, Any] = {"miou": None}
    try:
        finetune.train(payload | told)
        result["miou"] = _miou(payload, folder / "weights.pt")
    except FloatingPointError as error:
        result["diverged"] = str(error)
    result["seconds"] = round(time.monotonic() - begin, 1)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_json(folder / "result.json", result)


def changed(config: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """The slice with the point's settings in its recipe."""
    settings = {name: value for name, value in point.items() if name != "seed"}
    return config | {"train": config["train"] | settings}


def _miou(payload: dict[str, Any], weights: Path) -> float | None:
    content = checkpoint.load(weights)
    recipe = build(Train, content["config"]["train"], "config", "train.")
    model = make_model(content["config"], recipe)
    model.load_state_dict(content["state_dict"])
    device = torch.device("cuda" if payload["gpus"] else "cpu")
    data = Path(payload["data"])
    images: Any = Store(data, "val")
    if payload["held_out"]:
        images = Part(Store(data, "train"), held_out=True)
    test = segmentation.whole(recipe.img_scale)
    return segmentation.evaluate(model.to(device), images, device, test, ()).results["miou"]
