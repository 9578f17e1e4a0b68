"""The paper's recipes fit their models and train them, with optimisers that equal torch's own.

tests/stages/test_originals.py compares their numbers with the originals'.
"""

import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from lemore.config.jobs import FinetuneJob, make_finetune_job
from lemore.config.read import build, plain
from lemore.config.recipe import Group, Train
from lemore.config.recipe_files import load_recipe, override_names
from lemore.data.augment.segmentation import TrainTransform
from lemore.models.segmentor import make_model
from lemore.stages.workers.finetune import Loss, group_parameters, make_optimizer
from lemore.training import optim
from lemore.training.step import FiniteSteps, spread_nan
from tests.networks import CONFIG, on_meta, segmentor
from tests.networks import SEGMENTORS as MODELS

RECIPES = CONFIG / "recipes/paper"
DATASETS = ["ade20k", "cityscapes", "pascal_context_59", "pascal_context_60", "coco_stuff_10k"]


def recipe_of(name: str, dataset: str = "ade20k", **changes) -> Train:
    return load_recipe(RECIPES, dataset, name, {"train": changes})[0]


def multipliers(model: nn.Module, recipe: Train) -> dict[str, tuple[float, float]]:
    """(lr_mult, weight decay / the recipe's) by the name of the tensor."""
    groups = group_parameters(model, replace(recipe, weight_decay=1.0))
    return {n: (g["lr_mult"], g["weight_decay"]) for g in groups for n in g["names"]}


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_recipe_fits_its_model(dataset):
    """Every pattern is found in a tensor's name, every argument is the decode head's."""
    assert set(override_names(RECIPES, dataset)) <= set(MODELS)
    for name in MODELS:
        recipe = recipe_of(name, dataset)
        model = on_meta(name, recipe.crop_size, 7, auxiliary=True, **recipe.decode_head)
        assert multipliers(model, recipe).keys() == dict(model.named_parameters()).keys()


def test_a_pattern_without_a_tensor_is_refused():
    """So that a rule cannot silently have no effect, as the lineage's for "norm" has none."""
    with pytest.raises(ValueError, match=r"train\.groups has 'norm'"):
        multipliers(segmentor("lemore"), recipe_of("lemore", groups={"norm": {"decay_mult": 0}}))
    with pytest.raises(ValueError, match=r"train\.groups\.\("):
        recipe_of("lemore", groups={"(": {}})


def test_an_older_file_says_the_same_by_other_keys():
    job = make_finetune_job("run", "ade20k", 150, "lemore", recipe_of("lemore"))
    values = plain(job)
    del values["train"]["groups"]
    older = {"head_lr_mult": 10.0, "decay_norm": "reference"}
    assert build(FinetuneJob, values | {"train": values["train"] | older}, "") == job
    older["decay_norm"] = False
    recipe = build(FinetuneJob, values | {"train": values["train"] | older}, "").train
    model = segmentor("segformer_b0")
    norms = {re.escape(f"{n}.") for n, m in model.named_modules() if isinstance(m, optim.NORMS)}
    for name, group in multipliers(model, recipe).items():
        spared = any(re.match(norm, name) for norm in norms)
        assert group == (1.0 if name.startswith("backbone.") else 10.0, 0.0 if spared else 1.0)


FAMILIES = [
    "feedformer_b0", "hrnet_w18_small", "lemore", "metaseg_t", "pem_stdc1", "pspnet_mobilenet_v2",
    "seaformer_t", "segformer_b0", "segnext_t", "semantic_fpn_convmlp_s", "topformer_t",
    "umixformer_b0",
]  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_a_short_training_with_its_own_recipe(name):
    recipe = recipe_of(name, crop_size=[64, 64], batch_size=2, warmup_iterations=0)
    assert recipe.source == "own recipe"
    job = make_finetune_job("run", "ade20k", 5, name, recipe)
    torch.manual_seed(0)
    model = make_model(job).train()
    before = {key: weight.detach().clone() for key, weight in model.named_parameters()}
    optimizer = make_optimizer(recipe, group_parameters(model, recipe))
    steps = FiniteSteps(model, optimizer, 2, recipe.clip_norm)
    scaler = GradScaler("cpu", init_scale=16.0, enabled=recipe.precision == "fp16")
    loss = Loss(job, model.decode_head, torch.device("cpu"), None)
    for iteration in range(2):
        label = torch.randint(0, 5, (2, 64, 64), dtype=torch.uint8)
        image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
        batch = {"image": image, "label": label, "valid": torch.tensor([(64, 64)] * 2)}
        optim.set_learning_rate(optimizer, optim.compute_learning_rate(iteration, recipe))
        optimizer.zero_grad()
        steps.remember()
        value = loss(model, batch)
        scaler.scale(spread_nan(value)).backward()
        steps.update(scaler)
        steps.finish(iteration, recipe.lr, value)
        assert value.isfinite()
    moved = {key for key, weight in model.named_parameters() if not weight.equal(before[key])}
    assert len(moved) > len(before) / 2


@pytest.mark.parametrize("skipped", [(), (0,), (2,)])
@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_sgd_and_clipping_equal_torchs_own(skipped, clip_norm):
    """A step that is not finite leaves no trace, the first one included."""
    torch.manual_seed(0)
    ours, plain_one = nn.Linear(7, 5), nn.Linear(7, 5)
    plain_one.load_state_dict(ours.state_dict())
    recipe = recipe_of("pspnet_mobilenet_v2")
    groups = optim.group_parameters(ours, 0.01, {"bias": Group(2.0, 0.0)})
    optimizer = make_optimizer(replace(recipe, momentum=0.8), groups)
    reference = torch.optim.SGD(
        [
            {"params": [plain_one.weight], "lr": 0.1, "weight_decay": 0.01},
            {"params": [plain_one.bias], "lr": 0.2, "weight_decay": 0.0},
        ],
        lr=0.1,
        momentum=0.8,
        foreach=False,
    )
    steps = FiniteSteps(ours, optimizer, 10, clip_norm)
    for iteration in range(5):
        x = torch.randn(4, 7)
        optim.set_learning_rate(optimizer, 0.1)
        optimizer.zero_grad()
        bad = iteration in skipped
        spread_nan(ours(x).square().sum() * (math.nan if bad else 1.0)).backward()
        steps.update(GradScaler(enabled=False))
        if bad:
            continue
        reference.zero_grad()
        plain_one(x).square().sum().backward()
        if clip_norm:
            nn.utils.clip_grad_norm_(plain_one.parameters(), clip_norm)
        reference.step()
    torch.testing.assert_close(ours.state_dict(), plain_one.state_dict(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("dataset", "side"), [("ade20k", 512), ("cityscapes", 1024)])
def test_pem_draws_the_short_sides_of_its_configuration(dataset, side):
    recipe = recipe_of("pem_stdc1", dataset)
    assert recipe.img_scale[1] == side

    class Numbers:
        def __init__(self, number):
            self.number = number

        def integers(self, count):
            assert count == 16
            return self.number

    names = [f for f in TrainTransform.__dataclass_fields__]
    transform = TrainTransform(**{name: getattr(recipe, name) for name in names})
    drawn = [int(side * transform._draw_scale(Numbers(i))) for i in range(16)]  # pyright: ignore
    assert drawn == [int(x * 0.1 * side) for x in range(5, 21)]
