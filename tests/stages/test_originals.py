"""The paper's recipes train as the originals do: groups by tensor, rates by iteration, settings.

tests/stages/originals/<family>.json holds what the original's own code makes of its published
configuration (docs/parity.md says how). `groups`: for each model the factors of the learning rate
and of the weight decay of all its tensors, by their names there; names are written as a shell's
braces, `*` stands for all. `recipes`: for each `dataset/model` the rate at some iterations, and the
published numbers under the names that they have in our recipes.
"""

import itertools
import json
import math
import re
from pathlib import Path

import pytest
import torch

from lemore.config.recipe_files import load_recipe
from lemore.models.key_map import find_key_map
from lemore.stages.workers import finetune
from lemore.training import optim
from tests.networks import CONFIG, on_meta

FOLDER = Path(__file__).parent / "originals"
FAMILIES = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
PUBLISHED = [
    (family, *pair.split("/")) for family, data in FAMILIES.items() for pair in data["recipes"]
]


def expand(text: str) -> list[str]:
    """`a.{b,c}` -> a.b, a.c"""
    parts = enumerate(re.split(r"[{}]", text))
    choices = [part.split(",") if place % 2 else [part] for place, part in parts]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def read_groups(family: str, model: str, ours: set[str]) -> dict[str, tuple[float, float]]:
    """Returns the original's factors of rate and decay for each of our tensors."""
    found = {}
    for group in FAMILIES[family]["groups"][model]:
        pair = group["factor"], group["decay"]
        if group["tensors"] == ["*"]:
            return dict.fromkeys(ours, pair)
        key_map = find_key_map(family, "detectron2" if family == "pem" else "mmseg")
        for name in itertools.chain.from_iterable(map(expand, group["tensors"])):
            if any(re.match(pattern, name) for pattern in key_map.ignored):
                continue
            for new, _ in key_map.split(name, torch.empty(3)):
                assert found.setdefault(new.partition("#")[0], pair) == pair, name
    return found


@pytest.mark.parametrize("family, dataset, model", PUBLISHED)
def test_every_tensor_is_in_the_group_of_the_original(family, dataset, model):
    recipe, _ = load_recipe(CONFIG / "recipes/paper", dataset, model, {})
    network = on_meta(model, recipe.crop_size, 19, auxiliary=True, **recipe.decode_head)
    ours = {
        name: (group["lr_mult"], group["weight_decay"] / recipe.weight_decay)
        for group in finetune.group_parameters(network, recipe)
        for name in group["names"]
    }
    theirs = read_groups(family, model, set(ours))
    assert set(ours) == set(theirs)
    differing = {
        name: (ours[name], theirs[name])
        for name in ours
        if not all(map(math.isclose, ours[name], theirs[name]))
    }
    assert not differing


@pytest.mark.parametrize("family, dataset, model", PUBLISHED)
def test_the_rate_follows_the_original(family, dataset, model):
    recipe, _ = load_recipe(CONFIG / "recipes/paper", dataset, model, {})
    rate = optim.make_schedule(recipe)
    theirs = FAMILIES[family]["recipes"][f"{dataset}/{model}"]["rates"]
    assert len(theirs) > 15
    for iteration, expected in theirs.items():
        assert rate(int(iteration)) == pytest.approx(expected, rel=1e-9, abs=1e-15), iteration


@pytest.mark.parametrize("family, dataset, model", PUBLISHED)
def test_settings_are_the_published_ones(family, dataset, model):
    published = FAMILIES[family]["recipes"][f"{dataset}/{model}"]
    recipes = load_recipe(CONFIG / "recipes/paper", dataset, model, {})
    for half, recipe in zip(("train", "test"), recipes, strict=True):
        ours = {key: getattr(recipe, key) for key in published[half]}
        assert json.loads(json.dumps(ours)) == published[half]
