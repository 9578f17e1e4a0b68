"""A tiny prepared dataset and tiny jobs, for tests that run real stages."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lemore.config.jobs import EvaluateJob, PretrainJob, make_finetune_job
from lemore.config.model import BackboneConfig
from lemore.config.read import dump, load
from lemore.config.recipe_files import load_pretrain, load_recipe
from lemore.data.photo import PIXELS
from lemore.data.store import PackWriter, pack_label
from lemore.runtime.files import write_json

ROOT = Path(__file__).parents[1]
NUM_CLASSES = 4
SIZE = (80, 112)


def make_store(folder: Path, task: str) -> Path:
    """12 training and 4 validation images: noise with a bright square that gives the class."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    for split, count in (("train", 12), ("val", 4)):
        writer = PackWriter(folder, split, task)
        for i in range(count):
            image = rng.integers(0, 120, (*SIZE, 3), dtype=np.uint8)
            label = np.zeros(SIZE, np.uint8)
            top, left, kind = rng.integers(0, 40), rng.integers(0, 70), i % (NUM_CLASSES - 1) + 1
            image[top : top + 40, left : left + 40, kind - 1] = 250
            label[top : top + 40, left : left + 40] = kind
            label[:2] = 255
            target = pack_label(label) if task == "segmentation" else kind
            writer.add(f"{split}_{i}", SIZE, image.tobytes(), PIXELS, target)
        writer.close()
    tiny_digest(folder, task)
    return folder


def tiny_digest(folder: Path, task: str) -> None:
    """What prepare writes last."""
    digest = {
        "dataset": folder.name,
        "task": task,
        "num_classes": NUM_CLASSES,
        "classes": [f"class {k}" for k in range(NUM_CLASSES)],
        "class_frequencies": [0.7, 0.1, 0.1, 0.1],
        "splits": {"train": {"count": 12, "sha256": ""}, "val": {"count": 4, "sha256": ""}},
        "source": "archives",
        "sha256": "0" * 64,
    }
    write_json(folder / "digest.json", digest)
    write_json(folder / "colors.json", [[10 * k, 0, 0] for k in range(NUM_CLASSES)])


class Tiny:
    """A folder with tiny data in which single stages can be run as a person would."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.data = make_store(folder / "data/tiny", "segmentation")
        self.images = make_store(folder / "data/tiny_images", "classification")

    def lemore(
        self, *command: object, check: bool = True, **env: str
    ) -> subprocess.CompletedProcess:
        """Runs `lemore ...` in the folder with a store of its own."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
        clean["MLFLOW_TRACKING_URI"] = f"sqlite:///{self.folder / 'mlflow.db'}"
        done = subprocess.run(
            [sys.executable, "-m", "lemore.cli", *map(str, command)],
            cwd=self.folder,
            env=clean | {"PYTHONPATH": str(ROOT)} | env,
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def finetune_job(self, model: str = "lemore", init: str = "none", **train: object) -> Path:
        small = {"img_scale": [112, 80], "crop_size": [64, 64], "batch_size": 4, "iterations": 40}
        small |= {"warmup_iterations": 2, "checkpoint_every": 4, "validate_every": 40, **train}
        recipe, _ = load_recipe(
            ROOT / "config/recipes/scenes", "ade20k_scenes", model, {"train": small}
        )
        job = make_finetune_job("test", "tiny", NUM_CLASSES, model, recipe, init)
        return self._write(f"finetune_{model}_{init}".replace("/", "_"), job)

    def pretrain_job(self, backbone: str = "lemore") -> Path:
        recipe = load_pretrain(ROOT / "config/recipes/scenes", "imagenet_1k_scenes", backbone)
        job = PretrainJob(
            run="test",
            dataset="tiny_images",
            stands_for=None,
            scenes=False,
            num_classes=NUM_CLASSES,
            backbone_name=backbone,
            backbone=load(BackboneConfig, ROOT / f"config/backbones/{backbone}.yaml"),
            recipe=replace(recipe, crop_size=(64, 64), iterations=4, batch_size=4),
        )
        return self._write(f"pretrain_{backbone}", job)

    def evaluate_job(self, *images: str) -> Path:
        """Evaluation settings that name the classes; predictions of `images` are kept."""
        _, test = load_recipe(ROOT / "config/recipes/scenes", "ade20k_scenes", "lemore", {})
        classes = tuple(f"class {k}" for k in range(NUM_CLASSES))
        return self._write(
            "evaluate", EvaluateJob("test", "tiny", None, False, classes, images, test)
        )

    def evaluate_command(self, trained: Path, config: Path) -> list[object]:
        """Evaluates the training in folder `trained` into evaluate.json beside its weights."""
        command: list[object] = ["evaluate", "--checkpoint", trained / "weights.pt"]
        command += ["--dataset", "tiny", "--data-dir", self.folder / "data", "--config", config]
        return [*command, "--json", trained / "evaluate.json"]

    def _write(self, name: str, job: object) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(dump(job))
        return path

    def finetune(self, config: Path, name: str, *options: object, **kwargs) -> Path:
        """Fine-tunes into a folder of its own; returns that folder."""
        output = self.folder / "out" / name
        self.lemore(*self.finetune_command(config, output), *options, **kwargs)
        return output

    def finetune_command(self, config: Path, output: Path) -> list[object]:
        checkpoints = output.with_name(output.name + "_checkpoints")
        command: list[object] = ["finetune", "--config", config, "--data", self.data]
        return [*command, "--output", output, "--checkpoints", checkpoints]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Tiny:
    return Tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of real samples."""
    folder = os.environ.get("LEMORE_SAMPLES")
    if not folder:
        pytest.skip("LEMORE_SAMPLES names no folder of real samples")
    return Path(folder)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tiny networks, on which two threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
