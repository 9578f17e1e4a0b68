"""One trial of a search, called where it runs."""

import shutil
import time
from dataclasses import replace
from typing import Any

import torch

from lemore.config.jobs import FinetuneJob
from lemore.data.store import Store, take_part
from lemore.evaluation import segmentation
from lemore.models.segmentor import make_model
from lemore.runtime import checkpoint
from lemore.runtime.files import key_of, read_json, write_json
from lemore.runtime.lock import hold_lock
from lemore.runtime.worker import Worker
from lemore.stages.workers import finetune

DYING_SECONDS = 60.0  # for a killed search's process to leave its trial


def run_trial(job: FinetuneJob, worker: Worker, point: dict[str, Any]) -> dict[str, Any]:
    """Returns {"miou": fraction or None if it diverged, "seconds"} of a point: settings of the
    recipe, and the seed.

    An interrupted trial resumes, and one that has its result is not run again. LockHeld if another
    process, perhaps of a killed search, runs this very trial and does not end.
    """
    settings = {name: value for name, value in point.items() if name != "seed"}
    job = replace(job, train=replace(job.train, **settings))
    folder = worker.folder / key_of(job.train, point["seed"])[:16]
    worker = replace(worker, folder=folder, seed=point["seed"])
    with hold_lock(folder, DYING_SECONDS):
        if not (folder / "result.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            result = train_and_judge(job, worker)
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            write_json(folder / "result.json", result)
        return read_json(folder / "result.json")


def train_and_judge(job: FinetuneJob, worker: Worker) -> dict[str, Any]:
    begin = time.monotonic()
    result: dict[str, Any] = {"miou": None}
    try:
        finetune.train(job, worker)
        result["miou"] = _measure_miou(job, worker)
    except FloatingPointError as error:
        result["diverged"] = str(error)
    return result | {"seconds": round(time.monotonic() - begin, 1)}


def _measure_miou(job: FinetuneJob, worker: Worker) -> float | None:
    model = make_model(job)
    model.load_state_dict(checkpoint.load(worker.folder / "weights.pt")["state_dict"])
    device = torch.device("cuda" if worker.gpus else "cpu")
    images: Any = Store(worker.data, "val")
    if worker.held_out:
        images = take_part(Store(worker.data, "train"), held_out=True)
    test = segmentation.make_plain_test(job.train.img_scale)
    return segmentation.evaluate(model.to(device), images, device, test, ()).results["miou"]
