"""Optimisers, parameter groups and learning-rate curves of the mmcv 0.x lineage and of timm."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from lemore.config.recipe import Pretrain, Train

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
ALPHA, MOMENTUM, EPS = 0.9, 0.9, 1e-3  # of RMSpropTF


def make_schedule(recipe: Train | Pretrain) -> Callable[[int], float]:
    """The learning rate as a function of the iteration (0-based)."""
    if isinstance(recipe, Pretrain):
        return lambda iteration: compute_pretraining_rate(iteration, recipe)
    return lambda iteration: compute_learning_rate(iteration, recipe)


def compute_learning_rate(iteration: int, recipe: Train) -> float:
    """Base learning rate of a fine-tuning.

    mmcv 0.x ("mmcv0"): poly from iteration 0, the warm-up multiplied onto it:
    base (1 - i/T)^p (1 - (1 - i/W)(1 - r)) for i < W, else base (1 - i/T)^p.
    mmseg 1.x ("mmseg1"): linear from r base to base over W iterations, then poly over the rest.
    """
    base, low = recipe.lr, recipe.min_lr
    warmup = min(recipe.warmup_iterations, recipe.iterations)
    ramp = 1.0
    if iteration < warmup:
        ramp = 1 - (1 - iteration / warmup) * (1 - recipe.warmup_ratio)
    past = iteration / recipe.iterations
    if recipe.schedule == "mmseg1":
        past = max(iteration - warmup, 0) / max(recipe.iterations - warmup, 1)
    return ramp * ((base - low) * (1 - past) ** recipe.poly_power + low)


def compute_pretraining_rate(iteration: int, recipe: Pretrain) -> float:
    """Linear warm-up; then half a cosine from lr to min_lr over the rest, or steps, each of which
    multiplies lr by a factor; their iterations include the warm-up's (as timm's do)."""
    warmup = min(recipe.warmup_iterations, recipe.iterations)
    if iteration < warmup:
        return recipe.lr * (iteration + 1) / warmup
    if recipe.schedule == "step":
        factor, every = recipe.step_decay
        return recipe.lr * factor ** (iteration // every)
    past = (iteration - warmup) / max(recipe.iterations - warmup, 1)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * past)) / 2


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_mult"]


def group_parameters(
    model: nn.Module,
    *,
    head_parameters: Iterable[str],
    head_lr_mult: float,
    weight_decay: float,
    decay_norm: Literal["reference", False],
) -> list[dict]:
    """Optimiser groups, each with its `lr_mult`, `weight_decay`, `params` and `names`.

    head_parameters: names of the tensors that learn `head_lr_mult` times faster.
    decay_norm "reference" decays normalisation layers too, since the reference's exception for
    "norm" never matches their names (".bn."); False exempts them.
    """
    fast = set(head_parameters)
    unknown = fast - {name for name, _ in model.named_parameters()}
    assert not unknown, f"head_parameters names no parameter: {sorted(unknown)}"
    spared = set()
    if decay_norm is False:
        norms = ((n, m) for n, m in model.named_modules() if isinstance(m, NORMS))
        spared = {n for prefix, m in norms for n, _ in m.named_parameters(prefix, recurse=False)}
    groups: dict[tuple[float, float], dict] = {}
    for name, parameter in model.named_parameters():
        key = (head_lr_mult if name in fast else 1.0, 0.0 if name in spared else weight_decay)
        group = groups.setdefault(
            key, {"lr_mult": key[0], "weight_decay": key[1], "params": [], "names": []}
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def drop_names(groups: list[dict]) -> list[dict]:
    """Returns the groups as optimisers take them."""
    return [{k: v for k, v in group.items() if k != "names"} for group in groups]


def describe_groups(groups: list[dict]) -> str:
    """Returns a line for each group, for the log: the tensors that are decayed and sped up."""
    return "\n".join(
        f"parameter group: {len(g['names'])} tensors, lr x{g['lr_mult']:g}, "
        f"weight decay {g['weight_decay']:g}"
        + (f": {', '.join(g['names'])}" if len(g["names"]) <= 8 else "")
        for g in groups
    )


def make_adamw(groups: list[dict], betas: tuple[float, float]) -> AdamW:
    """Makes AdamW, whose learning rate `set_learning_rate` sets before every step."""
    return AdamW(drop_names(groups), lr=0.0, betas=betas, fused=True)


class RMSpropTF(Optimizer):
    """RMSprop as TensorFlow computes it, the optimiser of the lineage's ImageNet training.

    s <- s + (1 - alpha)(g^2 - s), m <- momentum m + lr g / sqrt(s + eps), w <- w - m, where the
    gradient g includes weight_decay * w. As in timm's "rmsproptf", epsilon is added under the root,
    the mean of squares starts at one, and the momentum sums updates that are already multiplied by
    the learning rate; torch's own RMSprop differs in all three.
    """

    def __init__(self, groups: list[dict[str, Any]]):
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group["lr"], group["weight_decay"])

    def _update(self, weight: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[weight]
        if not state:
            state |= {"square": torch.ones_like(weight), "momentum": torch.zeros_like(weight)}
        square, momentum = state["square"], state["momentum"]
        gradient = gradient.add(weight, alpha=decay)
        square.lerp_(gradient.square(), 1 - ALPHA)
        momentum.mul_(MOMENTUM).addcdiv_(gradient, square.add(EPS).sqrt_(), value=rate)
        weight.sub_(momentum)
