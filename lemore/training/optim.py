"""Optimiser, parameter groups and learning-rate curves of the mmcv 0.x lineage (protocol 3.3)."""

import math
from collections.abc import Callable, Iterable
from typing import Literal

from torch import nn
from torch.optim import AdamW, Optimizer

from lemore.config.recipe import Pretrain, Train

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def learning_rate(iteration: int, recipe: Train) -> float:
    """Base learning rate at `iteration` (0-based).

    mmcv 0.x ("mmcv0"): poly from iteration 0, the warm-up multiplied onto it:
    base (1 - i/T)^p (1 - (1 - i/W)(1 - r)) for i < W, else base (1 - i/T)^p.
    mmseg 1.x ("mmseg1"): linear from r base to base over W iterations, then poly over the rest.
    """
    base, low = recipe.lr, recipe.min_lr
    warmup = min(recipe.warmup_iterations, recipe.iterations)
    ramp = 1.0
    if iteration < warmup:
        ramp = 1 - (1 - iteration / warmup) * (1 - recipe.warmup_ratio)
    if recipe.schedule == "mmseg1":
        past = max(iteration - warmup, 0) / max(recipe.iterations - warmup, 1)
        return ramp * ((base - low) * (1 - past) ** recipe.poly_power + low)
    return ramp * ((base - low) * (1 - iteration / recipe.iterations) ** recipe.poly_power + low)


def pretraining_rate(iteration: int, recipe: Pretrain) -> float:
    """Linear warm-up; then half a cosine from lr to min_lr over the rest, or steps: lr multiplied
    by a factor after each so many iterations, those of the warm-up counted (as timm does)."""
    warmup = min(recipe.warmup_iterations, recipe.iterations)
    if iteration < warmup:
        return recipe.lr * (iteration + 1) / warmup
    if recipe.schedule == "step":
        factor, every = recipe.step_decay
        return recipe.lr * factor ** (iteration // every)
    past = (iteration - warmup) / max(recipe.iterations - warmup, 1)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * past)) / 2


def parameter_groups(
    model: nn.Module,
    *,
    head_parameters: Iterable[str],
    head_lr_mult: float,
    weight_decay: float,
    decay_norm: Literal["reference", False],
) -> list[dict]:
    """AdamW groups, each with its `lr_mult`, `weight_decay`, `params` and `names`.

    `head_parameters`: names of the tensors that learn `head_lr_mult` times faster.
    decay_norm "reference" decays normalisation layers like all else, since the reference's rule
    never matches their names (protocol trap 1); False spares them.
    """
    fast = set(head_parameters)
    unknown = fast - {name for name, _ in model.named_parameters()}
    assert not unknown, f"head_parameters names no parameter: {sorted(unknown)}"
    spared = _norm_parameters(model) if decay_norm is False else set()
    groups: dict[tuple[float, float], dict] = {}
    for name, parameter in model.named_parameters():
        key = (head_lr_mult if name in fast else 1.0, 0.0 if name in spared else weight_decay)
        group = groups.setdefault(
            key, {"lr_mult": key[0], "weight_decay": key[1], "params": [], "names": []}
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def _norm_parameters(model: nn.Module) -> set[str]:
    return {
        f"{module_name}.{name}" if module_name else name
        for module_name, module in model.named_modules()
        if isinstance(module, NORMS)
        for name, _ in module.named_parameters(recurse=False)
    }


def adamw(groups: list[dict], betas: tuple[float, float]) -> AdamW:
    """AdamW whose learning rate is set by `set_learning_rate` before every step."""
    return AdamW(bare(groups), lr=0.0, betas=betas, fused=True)


def bare(groups: list[dict]) -> list[dict]:
    """The groups without their names, as optimisers take them."""
    return [{k: v for k, v in group.items() if k != "names"} for group in groups]


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_mult"]


def describe(groups: list[dict]) -> str:
    """One line a group, for the log: what is really decayed and sped up."""
    return "\n".join(
        f"parameter group: {len(g['names'])} tensors, lr x{g['lr_mult']:g}, "
        f"weight decay {g['weight_decay']:g}"
        + (f": {', '.join(g['names'])}" if len(g["names"]) <= 8 else "")
        for g in groups
    )


def schedule(recipe: Train | Pretrain) -> Callable[[int], float]:
    """The learning rate as a function of the iteration."""
    if isinstance(recipe, Pretrain):
        return lambda iteration: pretraining_rate(iteration, recipe)
    return lambda iteration: learning_rate(iteration, recipe)
