"""The data, jobs and trainings that the checks share, and what the CPU computes of them.

Drawn scenes, so that nothing is fetched. Trainings are the product's own, with SGD and without
dropout, so that an update is linear in the gradient, and mostly of SegFormer: networks of ReLU6 and
BatchNorm alone amplify the rounding of the first steps so much that nothing could be compared.
"""

import itertools
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lemore.config.jobs import FinetuneJob, PretrainJob, make_finetune_job
from lemore.config.model import BackboneConfig
from lemore.config.read import load
from lemore.config.recipe import Test
from lemore.config.recipe_files import load_pretrain, load_recipe
from lemore.data.photo import FILE
from lemore.data.store import PackWriter, Store, pack_label
from lemore.models.segmentor import make_model
from lemore.runtime import checkpoint
from lemore.runtime.files import write_json
from lemore.runtime.process import Stopped
from lemore.runtime.shipped import CONFIG
from lemore.runtime.tracking.metrics_file import MetricsFile
from lemore.runtime.worker import Worker
from lemore.scenes.pictures import OBJECT_CLASSES, draw_object, draw_scene, encode_jpeg
from lemore.scenes.words import WORDS
from lemore.stages.workers import finetune, pretrain

SMOOTH, MAIN = "segformer_b0", "lemore"  # models: to compare trainings, and the project's own
BACKBONE = "mit_b0"
ITERATIONS, SEED = 10, 3
PHOTOS = {"train": 12, "val": 4}
SIZE, CROP = (96, 128), (64, 64)
PLAIN = {
    "img_scale": [128, 96],
    "crop_size": list(CROP),
    "batch_size": 8,
    "iterations": ITERATIONS,
    "optimizer": "sgd",
    "lr": 0.02,
    "warmup_iterations": 0,
    "dropout": 0.0,
    "drop_path": 0.0,
    "photometric_distortion": "none",
    "checkpoint_every": ITERATIONS,
    "validate_every": 0,
}


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training. row: its last metrics. weights: the trained tensors by name."""

    row: dict[str, float]
    weights: dict[str, Tensor]
    file: Path


@dataclass
class Bench:
    """Holds what the checks share: a folder, the device, and the CPU's results."""

    folder: Path
    device: torch.device
    threads: int
    references: dict[str, Any] = field(default_factory=dict)

    @property
    def gpus(self) -> float:
        return float(self.device.type == "cuda")

    @cached_property
    def data(self) -> Path:
        return draw_store(self.folder / "selftest", SIZE, PHOTOS)

    @cached_property
    def objects(self) -> Path:
        return draw_objects(self.folder / "selftest_objects")

    @property
    def val(self) -> Store:
        return Store(self.data, "val")

    def make_job(self, model: str = SMOOTH, **changes: Any) -> FinetuneJob:
        train = PLAIN | {"threads": self.threads} | changes
        recipe, _ = load_recipe(CONFIG / "recipes/scenes", "ade20k_scenes", model, {"train": train})
        return make_finetune_job("selftest", "selftest", len(WORDS), model, recipe)

    def make_pretrain_job(self) -> PretrainJob:
        recipe = load_pretrain(CONFIG / "recipes/scenes", "imagenet_1k_scenes", BACKBONE)
        changes = {"crop_size": CROP, "iterations": ITERATIONS, "batch_size": 8, "lr": 1e-3}
        changes |= {"optimizer": "rmsprop", "mixup": 0.2, "ema": 0.9, "warmup_iterations": 0}
        changes |= {"validate_every": 0, "threads": self.threads}
        backbone = load(BackboneConfig, CONFIG / f"backbones/{BACKBONE}.yaml")
        return PretrainJob(
            run="selftest",
            dataset="selftest_objects",
            stands_for=None,
            scenes=True,
            num_classes=len(OBJECT_CLASSES),
            backbone_name=BACKBONE,
            backbone=backbone,
            recipe=replace(recipe, **changes),
        )

    def train(
        self,
        name: str,
        job: FinetuneJob | PretrainJob,
        gpus: float,
        *,
        data: Path | None = None,
        stop_after: int = 0,
    ) -> TrainingResult:
        """Trains in the folder `name`, from its newest checkpoint if there is one.

        stop_after: steps after which the training is asked to stop; it raises Stopped then.
        """
        worker = self.make_worker(name, job, gpus, data)
        counter = itertools.count(1)
        if stop_after:
            worker = replace(worker, stop=lambda: int(next(counter) == stop_after))
        before = torch.get_num_threads(), torch.backends.cudnn.benchmark
        try:
            if isinstance(job, FinetuneJob):
                finetune.train(job, worker)
            else:
                pretrain.train(job, worker)
        finally:
            torch.set_num_threads(before[0])
            torch.backends.cudnn.benchmark = before[1]
        return self.read(worker)

    def make_worker(
        self, name: str, job: FinetuneJob | PretrainJob, gpus: float, data: Path | None = None
    ) -> Worker:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        own = self.data if isinstance(job, FinetuneJob) else self.objects
        return Worker(data=data or own, folder=folder, seed=SEED, gpus=gpus)

    def read(self, worker: Worker) -> TrainingResult:
        rows = MetricsFile(worker.folder / "metrics.jsonl").read()
        file = worker.folder / "weights.pt"
        return TrainingResult(rows[-1]["metrics"], checkpoint.load_tensors(file), file)

    def train_anew(self, name: str, job: FinetuneJob | PretrainJob) -> TrainingResult:
        """Trains on the device under test."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.train(name, job, self.gpus)

    def refer(self, name: str, job: FinetuneJob | PretrainJob) -> TrainingResult:
        """Returns the training on the CPU."""
        return self.remember(f"cpu_{name}", lambda: self.train(f"cpu_{name}", job, 0.0))

    def remember(self, name: str, make: Callable[[], Any]) -> Any:
        """Returns what the CPU computes of this name, which is made once."""
        if name not in self.references:
            self.references[name] = make()
        return self.references[name]

    @cached_property
    def checkpoint(self) -> Path:
        """A checkpoint whose label maps show many classes, for the checks of trained models."""
        trained = self.refer("main", self.make_job(MAIN))
        content, path = checkpoint.load(trained.file), self.folder / "many_classes.pt"
        network = make_model(self.make_job(MAIN))
        network.load_state_dict(content["state_dict"])
        image = self.val.read_image(0)
        spread_classes(network.eval(), torch.from_numpy(image).permute(2, 0, 1)[None] / 64 - 2)
        checkpoint.save(path, content | {"state_dict": network.state_dict()})
        return path

    def make_test(self, **changes: Any) -> Test:
        _, test = load_recipe(CONFIG / "recipes/scenes", "ade20k_scenes", MAIN, {})
        return replace(test, img_scale=(SIZE[1], SIZE[0]), **changes)


@torch.no_grad()
def spread_classes(network: nn.Module, image: Tensor) -> None:
    """Scales the classifier so that every class has mean 0 and deviation 1 on an image."""
    classifier: Any = network.get_submodule("decode_head.classifier")
    logits = network(image)
    mean, deviation = logits.mean((0, 2, 3)), logits.std((0, 2, 3)).clamp(min=1e-6)
    classifier.bias.sub_(mean).div_(deviation)
    classifier.weight.div_(deviation[:, None, None, None])


def compare(
    found: TrainingResult, reference: TrainingResult, start: dict[str, Tensor]
) -> tuple[float, float]:
    """Returns relative differences: of the loss, and of what the training changed in the weights.

    start: the weights before.
    """
    loss, expected = found.row["train/loss"], reference.row["train/loss"]
    names = [name for name, tensor in start.items() if tensor.is_floating_point()]
    names = [name for name in names if "running_" not in name]
    gap = sum(float((found.weights[n] - reference.weights[n]).square().sum()) for n in names)
    change = sum(float((reference.weights[n] - start[n]).square().sum()) for n in names)
    return abs(loss - expected) / abs(expected), math.sqrt(gap / change)


def make_start(job: FinetuneJob) -> dict[str, Tensor]:
    """Returns the weights that a training of the job starts from."""
    torch.manual_seed(SEED)
    return make_model(job).state_dict()


def stop_and_resume(bench: Bench, job: FinetuneJob, name: str) -> TrainingResult:
    """Stops a training in the middle and resumes it."""
    shutil.rmtree(bench.folder / name, ignore_errors=True)
    try:
        bench.train(name, job, bench.gpus, stop_after=ITERATIONS // 2)
    except Stopped:
        return bench.train(name, job, bench.gpus)
    raise AssertionError("the training did not stop when it was asked to")


def draw_store(folder: Path, size: tuple[int, int], counts: dict[str, int]) -> Path:
    """Draws scenes of `size` (H, W) and their label maps as a prepared dataset."""
    folder.mkdir(parents=True)
    index = 0
    for split, count in counts.items():
        writer = PackWriter(folder, split, "segmentation")
        for number in range(count):
            image, label = draw_scene("mixed", size, SEED, index)
            writer.add(f"{split}_{number}", size, encode_jpeg(image), FILE, pack_label(label))
            index += 1
        writer.close()
    _write_digest(folder, "segmentation", list(WORDS), counts)
    return folder


def draw_objects(folder: Path) -> Path:
    """Draws single objects as a prepared dataset of classification."""
    folder.mkdir(parents=True)
    for split, count in PHOTOS.items():
        writer = PackWriter(folder, split, "classification")
        for number in range(count):
            kind = number % len(OBJECT_CLASSES)
            image = draw_object(kind, SIZE, SEED, number)
            size = image.shape[0], image.shape[1]
            writer.add(f"{split}_{number}", size, encode_jpeg(image), FILE, kind)
        writer.close()
    _write_digest(folder, "classification", list(OBJECT_CLASSES), PHOTOS)
    return folder


def _write_digest(folder: Path, task: str, classes: list[str], counts: dict[str, int]) -> None:
    digest = {
        "dataset": folder.name,
        "task": task,
        "num_classes": len(classes),
        "classes": classes,
        "class_frequencies": [1 / len(classes)] * len(classes),
        "splits": {split: {"count": count, "sha256": ""} for split, count in counts.items()},
        "source": "scenes",
        "sha256": "",
    }
    write_json(folder / "digest.json", digest)
    colors = np.random.default_rng(0).integers(0, 256, (len(classes), 3)).tolist()
    write_json(folder / "colors.json", colors)
