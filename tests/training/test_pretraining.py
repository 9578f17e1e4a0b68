"""A pretraining's validation: by the first worker only, images read while the model computes; and
the parameters that it trains."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from conftest import ROOT
from torch import nn

from lemore.config.jobs import PretrainJob, read_job
from lemore.config.model import BackboneConfig
from lemore.config.read import load
from lemore.config.recipe_files import load_pretrain
from lemore.models.classifier import build_classifier
from lemore.runtime.worker import Worker
from lemore.stages.workers import pretrain, shared
from lemore.training.loop import Outcome

CPU = torch.device("cpu")


class Split:
    """12 grey images, as a prepared split; tells when a later one than the first two is read."""

    def __init__(self):
        self.went_on = threading.Event()

    def __len__(self) -> int:
        return 12

    def read(self, index: int) -> tuple[np.ndarray, int]:
        if index > 1:
            self.went_on.set()
        return np.full((40, 50, 3), 10 * index, np.uint8), index


class Brightness(nn.Module):
    """Says the class of such an image of the first ten; needs the next to be read."""

    def __init__(self, split: Split):
        super().__init__()
        self.split = split

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.split.went_on.wait(30), "nothing was read meanwhile"
        grey = (x[:, 0].mean((1, 2)) * 58.395 + 123.675) / 10  # as it was before `normalize`
        return -(grey[:, None] - torch.arange(10)).abs()


def test_the_next_images_are_read_while_the_model_computes(monkeypatch, one_thread):
    recipe = load_pretrain(ROOT / "config/recipes/scenes", "imagenet_1k_scenes", "lemore")
    monkeypatch.setattr(pretrain, "TEST_BATCH", 2)
    split = Split()
    found = pretrain.top_k(Brightness(split), split, recipe, CPU)
    assert found == {"top1": 10 / 12, "top5": 10 / 12}


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_worker_validates_and_tests(tiny, tmp_path, monkeypatch, rank):
    jobs, tested = [], []
    real = shared.make_loop
    monkeypatch.setattr(shared, "make_loop", lambda *a, **kw: jobs.append(kw) or real(*a, **kw))
    monkeypatch.setattr(shared, "run", lambda loop: Outcome(0, 0, 0.0))
    monkeypatch.setattr(shared, "finish", lambda *args: {"iterations": 4})
    monkeypatch.setattr(pretrain, "top_k", lambda *args: tested.append(args) or {"top1": 0.5})
    job = read_job(PretrainJob, tiny.pretrain_job())
    worker = Worker(data=tiny.images, folder=tmp_path, seed=0, rank=rank)
    result = pretrain.train(job, worker)
    assert (jobs[0]["validate"] is None) == bool(rank) and len(tested) == (0 if rank else 1)
    assert result.get("top1") == (None if rank else 0.5) and result["iterations"] == 4


# --- what trains

BACKBONES = sorted(path.stem for path in (ROOT / "config/backbones").glob("*.yaml"))


@pytest.mark.parametrize("name", BACKBONES)
def test_every_parameter_that_trains_gets_a_gradient(name):
    """Several workers would wait for it otherwise."""
    backbone = load(BackboneConfig, ROOT / f"config/backbones/{name}.yaml")
    with torch.device("meta"):
        model = build_classifier(backbone, num_classes=10, input_size=(64, 64), drop_path=0.1)
        model.train()(torch.empty(2, 3, 64, 64)).sum().backward()
    trained = [p.requires_grad for p in model.parameters()]
    assert [p.grad is not None for p in model.parameters()] == trained
    assert trained.count(False) == (30 if name == "hrnet_w18_small" else 0)


def take_two_steps(rank: int, config: Path, data: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    job = read_job(PretrainJob, config)
    job = replace(job, recipe=replace(job.recipe, iterations=2, loader_workers=0))
    worker = Worker(data=data, folder=folder, seed=0, rank=rank, world_size=2)
    result = pretrain.train(job, worker)
    assert result["iterations"] == 2 and result["skipped_steps"] == 0
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_workers_pretrain_a_network_with_maps_that_are_not_read(tiny, tmp_path):
    config = tiny.pretrain_job("hrnet_w18_small")
    multiprocessing.spawn(take_two_steps, (config, tiny.images, tmp_path), 2)
    assert (tmp_path / "weights.pt").exists()
