"""Checkpoints of untrained networks, for tests that load and predict."""

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from lemore.config import labels
from lemore.config.jobs import FinetuneJob, make_finetune_job
from lemore.config.read import build, plain
from lemore.config.recipe_files import load_recipe
from lemore.models.segmentor import make_model
from lemore.runtime import checkpoint
from lemore.trained.classes import find_dataset
from lemore.trained.predict.video import open_video

ROOT = Path(__file__).parents[1]
NUM_CLASSES = 11


def make_job(
    model: str = "lemore_t", dataset: str = "camvid", classes: int = NUM_CLASSES
) -> FinetuneJob:
    """CamVid's recipe at a small size."""
    small = {"img_scale": [112, 80], "crop_size": [64, 64]}
    recipe, _ = load_recipe(ROOT / "config/recipes/camvid", "camvid", model, {"train": small})
    return make_finetune_job("test", dataset, classes, model, recipe)


def make_settings(
    model: str = "lemore_t", dataset: str = "camvid", classes: int = NUM_CLASSES
) -> dict:
    """The configuration in a checkpoint."""
    return plain(make_job(model, dataset, classes))


def make_content(config: dict | None = None) -> dict:
    """state_dict and config, with weights under which images give several classes."""
    config = config or make_settings()
    return {"state_dict": make_state(config), "config": config}


def make_state(config: dict) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = make_model(build(FinetuneJob, config, "test"))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
        classifier = model.decode_head.classifier
        if isinstance(classifier, torch.nn.Conv2d):  # every class gets its part of a photo
            classifier.weight.normal_(0, 0.5)
            image = torch.from_numpy(make_photo(0)).permute(2, 0, 1)[None] / 64 - 2
            logits = model.eval()(image)
            classifier.weight /= logits.std((0, 2, 3))[:, None, None, None]
            classifier.bias.copy_(-logits.mean((0, 2, 3)) / logits.std((0, 2, 3)))
    return model.state_dict()


def write_checkpoint(
    path: Path, config: dict | None = None, names: tuple[str, ...] | None = None
) -> Path:
    """names: of the classes; None: those of a dataset of the project, else none at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = make_content(config)
    data = find_dataset(content["config"]["dataset"])
    names = names or (labels.find_table(data).names if data else None)
    if names:
        colors = [labels.choose_color(k) for k in range(len(names))]
        content["classes"] = plain({"names": names, "colors": colors})
    checkpoint.save(path, content)
    return path


def make_photo(seed: int, size: tuple[int, int] = (80, 112)) -> np.ndarray:
    """Smooth blobs of colour, H W 3 uint8 RGB."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def clip(path: Path, number: int = 7, size: tuple[int, int] = (80, 112)) -> Path:
    with open_video(path, 12.5, size) as write:
        for i in range(number):
            write(np.roll(make_photo(1, size), 5 * i, axis=1))
    return path
