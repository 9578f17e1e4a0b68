"""A small prepared dataset of boxes, and an untrained detector for it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from lemore.config.jobs import FinetuneJob, make_finetune_job
from lemore.config.read import plain
from lemore.config.recipe_files import load_recipe
from lemore.data import objects
from lemore.data.objects import Objects
from lemore.data.photo import PIXELS
from lemore.data.store import PackWriter
from lemore.models.network import make_network
from lemore.runtime import checkpoint
from lemore.runtime.files import write_json

ROOT = Path(__file__).parents[1]
MODEL = "retinanet_shufflenet_v2"
IDS = [3, 7, 90]  # COCO's, by train id
NAMES = ["circle", "square", "star"]
SIZE = (90, 120)


def make_objects(number: int) -> Objects:
    """A large, a medium and a small object, and a crowd."""
    found = np.array(
        [[2, 3, 110, 85], [30 + number, 10, 80, 60], [5, 5, 25, 30], [90, 40, 118, 88]], np.float32
    )
    areas = np.array([9300, 1500, 400, 1300], np.float32)
    crowd = np.array([False, False, False, True])
    return Objects(found, np.array([0, 1, 2, 0]), crowd, areas)


def make_coco_store(folder: Path, task: str = "detection") -> Path:
    """8 training and 3 validation images of noise, each with the same objects."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    for split, count in (("train", 8), ("val", 3)):
        writer = PackWriter(folder, split, task)
        for number in range(count):
            image = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
            packed = objects.pack(make_objects(number), 1000 + number)
            writer.add(f"{split}_{number}", SIZE, image.tobytes(), PIXELS, packed)
        writer.close()
    digest = {
        "dataset": folder.name, "task": task, "num_classes": 3, "classes": NAMES,
        "category_ids": IDS, "class_frequencies": [], "source": "archives", "sha256": "0" * 64,
        "splits": {"train": {"count": 8, "sha256": ""}, "val": {"count": 3, "sha256": ""}},
    }  # fmt: skip
    write_json(folder / "digest.json", digest)
    write_json(folder / "colors.json", [[10 * k, 0, 0] for k in range(3)])
    return folder


def make_detection_job(
    dataset: str, classes: int, model: str = MODEL, **train: object
) -> FinetuneJob:
    small = {"img_scale": [64, 48], "batch_size": 2, "iterations": 4, "warmup_iterations": 1}
    small |= train
    recipe, _ = load_recipe(ROOT / "config/recipes/scenes", "coco_scenes", model, {"train": small})
    return make_finetune_job("test", dataset, classes, model, recipe)


def write_detector(path: Path, dataset: str, names: list[str], model: str = MODEL) -> Path:
    """Writes a checkpoint with weights that find several classes with various scores."""
    path.parent.mkdir(parents=True, exist_ok=True)
    job = make_detection_job(dataset, len(names), model)
    torch.manual_seed(0)
    network: Any = make_network(job)
    with torch.no_grad():
        logits = network.detection_head.head.classification_head.cls_logits
        logits.weight.normal_(0, 1)
        image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
        found = network.eval()(image).logits
        logits.weight /= found.std()
        logits.bias.fill_(-1.0)
    colors = [[200, k, 0] for k in range(len(names))]
    content = {"state_dict": network.state_dict(), "config": plain(job)}
    checkpoint.save(path, content | {"classes": {"names": names, "colors": colors}})
    return path
