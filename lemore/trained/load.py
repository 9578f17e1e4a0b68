"""Models by path or name, as `lemore.load` and `lemore.create_model` return them."""

import os
from functools import partial
from pathlib import Path

import torch

from lemore.config import read
from lemore.config.dataset import MAX_BOX_CLASSES, MAX_CLASSES
from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import did_you_mean
from lemore.config.size import Size
from lemore.config.values import MAX_SIDE, MIN_SIDE
from lemore.models.detector import Detector, build_detector
from lemore.models.segmentor import Segmentor, build_segmentor
from lemore.runtime.shipped import list_names
from lemore.trained.classes import find_classes
from lemore.trained.detector import DetectionModel
from lemore.trained.exported_file import check_use
from lemore.trained.find import DATA_DIR, read_model
from lemore.trained.model import Model


def load(
    checkpoint: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    data_dir: str | os.PathLike[str] = DATA_DIR,
) -> Model | DetectionModel:
    """Loads a trained model in evaluation mode: one that segments, or one that detects.

    checkpoint: weights.pt, a shared model folder, a model that comes with the package, a training
    below results/ as <run>/<dataset>/<model>/<seed> (any unambiguous part is enough),
    hf://owner/name, or a file of `lemore export`, which its runtime runs on the CPU and which takes
    images of its own size alone. data_dir: where prepared datasets lie, for the names of the
    classes of a weights.pt. Nothing in the files is executed but the operators of an exported one;
    ValueError says what is wrong with them.
    """
    trained = read_model(checkpoint)
    check_use(trained, trained.test, torch.device(device).type != "cpu")
    kind = DetectionModel if trained.job.model.task == "detection" else Model
    return kind(trained, find_classes(trained, Path(data_dir))).eval().to(device)


def create_model(name: str, *, num_classes: int, size: Size) -> Segmentor | Detector:
    """Creates an untrained model of config/models for training crops of `size` (H, W).

    It is a torch module of B 3 H W float, RGB normalised by ImageNet's mean and deviation. One that
    segments gives logits B K h w at its own stride. One that detects takes sides that are multiples
    of its `padding`, and gives the raw outputs of its `detection_head`, which computes the loss of
    them and finds the boxes in them. ValueError says what is expected of an argument, or names the
    nearest known model.
    """
    if not isinstance(size, tuple | list) or len(size) != 2 or not all(map(_is_side, size)):
        raise ValueError(
            f"size is {size!r}, expected (H, W), whole numbers from {MIN_SIDE} to {MAX_SIDE}"
        )
    known = list_names("config/models")
    if name not in known:
        raise ValueError(f"no model '{name}'{did_you_mean(name, known)}")
    model = read.load(ModelConfig, f"config/models/{name}.yaml")
    backbone = read.load(BackboneConfig, f"config/backbones/{model.backbone}.yaml")
    build, most = build_detector, MAX_BOX_CLASSES
    if model.task == "segmentation":
        build, most = partial(build_segmentor, auxiliary=False), MAX_CLASSES
    if not isinstance(num_classes, int) or not 1 <= num_classes <= most:
        raise ValueError(
            f"num_classes is {num_classes!r}, expected a whole number from 1 to {most} for {name}"
        )
    return build(
        model,
        backbone,
        num_classes=num_classes,
        input_size=(size[0], size[1]),
        drop_path=0.0,
        overrides={},
    )


def _is_side(value: object) -> bool:
    return isinstance(value, int) and MIN_SIDE <= value <= MAX_SIDE
