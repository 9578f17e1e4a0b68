"""Budgets of a training step: operations that a device gets, and where its host would wait.

A GPU's host must run ahead of it, so nothing may wait but the rows of the log; and each operation
is at least one kernel, whose launch costs as much as the work of a small one.
"""

import ast
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from counting import Counting
from torch import nn
from torch.amp.grad_scaler import GradScaler

from lemore.config.jobs import make_finetune_job
from lemore.config.model import BackboneConfig
from lemore.config.read import load
from lemore.config.recipe_files import load_pretrain, load_recipe
from lemore.data.augment import photometric_batch
from lemore.models.classifier import Classifier, build_classifier
from lemore.models.segmentor import make_model
from lemore.runtime.checkpoint import Checkpoints
from lemore.stages.workers import finetune, shared
from lemore.training import losses, optim
from lemore.training.loop import TrainingLoop
from lemore.training.step import Average, FiniteSteps
from tests.networks import SEGMENTORS

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = load_pretrain(ROOT / "config/recipes/paper", "imagenet_1k", "lemore")


@cache
def make_classifier() -> Classifier:
    backbone = load(BackboneConfig, ROOT / "config/backbones/lemore.yaml")
    return build_classifier(backbone, num_classes=1000, input_size=(64, 64), drop_path=0.1)


def fill_gradients(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)


@pytest.mark.parametrize(("name", "most"), [("rmsprop", 60), ("adamw", 10), ("sgd", 10)])
def test_guard_and_optimiser(name, most):
    """Of LeMoRe's pretraining: 250 tensors in two groups, and 45 batch norms."""
    model = make_classifier()
    groups = optim.group_parameters(model, 1e-5, optim.spare_undecayed(model, RECIPE.decayed))
    made = {
        "rmsprop": lambda: optim.RMSpropTF(optim.drop_names(groups)),
        "adamw": lambda: optim.make_adamw(groups, (0.9, 0.999)),
        "sgd": lambda: optim.make_sgd(groups, 0.9),
    }
    optimizer = made[name]()
    fill_gradients(model)
    optimizer.step()  # makes its state
    with Counting() as alone:
        optimizer.step()
    guard = FiniteSteps(model, optimizer, 100, clip_norm=1.0)
    with Counting() as guarded:
        guard.remember()
        guard.update(GradScaler(enabled=False))
        guard.finish(0, 0.1, torch.zeros(()))
    assert alone.count <= most
    assert guarded.count <= alone.count + 30
    assert not guarded.waits


def test_the_average_of_the_weights():
    model = make_classifier()
    average = Average(model, 0.999)
    with Counting() as counted:
        average.follow(model, 0)
    assert counted.count <= 2 and not counted.waits


@pytest.mark.parametrize("batch", [4, 16])
def test_the_loss(batch):
    """Of ADE20K's crops, on another device than the CPU: at most its logits' own size in memory."""
    logits = torch.empty(batch, 150, 64, 64, device="meta", requires_grad=True)
    label = torch.empty(batch, 512, 512, dtype=torch.uint8, device="meta")
    weight = torch.empty(150, device="meta")
    with Counting() as counted:
        losses.compute_segmentation_loss(logits, label, "valid_pixels", weight).backward()
    assert logits.grad is not None and logits.grad.shape == logits.shape
    assert counted.peak <= batch * 150 * 512 * 512 * 4
    assert counted.count <= 120 and not counted.waits


@pytest.mark.parametrize("batch", [16, 64])
def test_the_distortion(batch):
    """The draws come from the host and are not waited for; the tables stay on the device."""
    images = torch.empty(batch, 3, 512, 512, dtype=torch.uint8, device="meta")
    draws = torch.full((batch, 5), torch.nan)
    photometric_batch.distort(images, draws)
    with Counting() as counted:
        made = photometric_batch.distort(images, draws)
    assert made.shape == images.shape and made.dtype == torch.uint8
    assert counted.count <= 100 and not counted.waits


# --- a whole step


def still(groups: list[dict]) -> torch.optim.Optimizer:
    """An optimiser that does nothing: the fused kernels do not know the meta device."""
    optimizer = torch.optim.SGD(optim.drop_names(groups), lr=0.0)
    optimizer._step_supports_amp_scaling = True
    optimizer.step = lambda: None
    return optimizer


def make_step(device: str, folder: Path, optimizer) -> tuple[TrainingLoop, dict]:
    recipe, _ = load_recipe(ROOT / "config/recipes/paper", "ade20k", "lemore", {})
    recipe = replace(recipe, crop_size=(64, 64), precision="fp32")
    job = make_finetune_job("test", "noise", 150, "lemore", recipe)
    with torch.device(device):
        model = make_model(job).train()
    shared.place(model, recipe, torch.device(device))
    groups = finetune.group_parameters(model, recipe)
    loop = TrainingLoop(
        name="",
        model=model,
        optimizer=optimizer(groups),
        learning_rate=lambda iteration: 1e-4,
        batches=lambda start: [],
        loss=finetune.Loss(job, model.decode_head, torch.device(device), None),
        iterations=10,
        seed=0,
        checkpoints=Checkpoints(folder),
        checkpoint_every=10,
        record=lambda iteration, metrics: None,
        stop=lambda: False,
        average=Average(model, 0.999),
    )
    batch = {
        "image": torch.zeros(4, 3, 64, 64, dtype=torch.uint8),
        "label": torch.zeros(4, 64, 64, dtype=torch.uint8),
        "valid": torch.full((4, 2), 64, dtype=torch.int32),
        "distortion": torch.full((4, 5), torch.nan),
    }
    loop.step(batch, 0, 1e-4)
    return loop, batch


def test_a_step_never_waits(tmp_path, monkeypatch):
    """LeMoRe's with distortion, loss, guard and average; what the row of a log reads, waits."""
    monkeypatch.setattr(shared, "autocast", lambda recipe, device: nullcontext())
    loop, batch = make_step("meta", tmp_path, still)
    with Counting() as counted:
        loop.step(batch, 1, 1e-4)
    assert counted.count <= 1600 and not counted.waits
    with Counting() as network:
        loop.model(torch.empty(4, 3, 64, 64, device="meta")).sum().backward()
    assert network.count <= 1300 and not network.waits


def test_a_step_with_its_optimiser_never_waits_but_for_the_log(tmp_path):
    """AdamW's fused kernel included, on a CPU."""
    loop, batch = make_step("cpu", tmp_path, lambda groups: optim.make_adamw(groups, (0.9, 0.999)))
    with Counting() as counted:
        loss = loop.step(batch, 1, 1e-4)
        assert not counted.waits
        loop.finite.read(lambda iteration: [])
        loss.item()
    assert counted.waits and counted.count <= 1400


# --- on a GPU that is not there


@pytest.mark.parametrize(
    "names", [["lemore", "pem_stdc1"], pytest.param(SEGMENTORS, marks=pytest.mark.slow)]
)
def test_networks_and_losses_run_on_fake_tensors_of_a_gpu(names):
    tests = ROOT / "tests"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tests}"}
    command = [sys.executable, tests / "fake_cuda.py", *names]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and done.stdout == "", done.stdout + done.stderr


# --- tensors without a device

MAKERS = {"zeros", "ones", "full", "empty", "tensor", "as_tensor", "arange", "linspace", "eye"}
MAKERS |= {"rand", "randn", "randint", "randperm"}
ON_THE_HOST = {
    "__init__",  # parameters are moved with their module
    "losses.compute_class_weight",  # once, before the training
    "key_map.convert",  # weights of a file
    "cells._find_taps",  # the fast path of a CPU alone
    "cells._interpolate",
}


def list_made_without_device(path: Path) -> list[str]:
    """module.function: line of each tensor made there without `device=`."""
    found = []
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef) or function.name in ON_THE_HOST:
            continue
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            of_torch = isinstance(call.func.value, ast.Name) and call.func.value.id == "torch"
            placed = any(keyword.arg == "device" for keyword in call.keywords)
            if of_torch and call.func.attr in MAKERS and not placed:
                found.append(f"{path.stem}.{function.name}: line {call.lineno}")
    return [one for one in found if one.split(":")[0] not in ON_THE_HOST]


@pytest.mark.parametrize("room", ["models", "evaluation", "training/losses.py"])
def test_no_tensor_is_made_without_a_device(room):
    """On a GPU it would be copied there, and the host would wait."""
    place = ROOT / "lemore" / room
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert [line for path in files for line in list_made_without_device(path)] == []
