"""Optimisers, parameter groups and learning-rate curves of the mmcv 0.x lineage and of timm."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from lemore.config.recipe import Group, Pretrain, Train

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
ALPHA, MOMENTUM, EPS = 0.9, 0.9, 1e-3  # of RMSpropTF
listwise: Any = torch  # its operations on lists of tensors have private names


def make_schedule(recipe: Train | Pretrain) -> Callable[[int], float]:
    """The learning rate as a function of the iteration (0-based)."""
    if isinstance(recipe, Pretrain):
        return lambda iteration: compute_pretraining_rate(iteration, recipe)
    return lambda iteration: compute_learning_rate(iteration, recipe)


def compute_learning_rate(iteration: int, recipe: Train) -> float:
    """Base learning rate of a fine-tuning of T iterations, W of them warm-up from r base.

    mmcv 0.x ("mmcv0"): poly from iteration 0, the warm-up multiplied onto it:
    base (1 - i/T)^p (1 - (1 - i/W)(1 - r)) for i < W, else base (1 - i/T)^p.
    mmengine ("mmseg1"): linear over the first W iterations, the last of which has base; then poly,
    whose last iteration has 0: base (1 - (i - W)/(T - W - 1))^p.
    detectron2 ("cosine"): base (1 + cos(pi i/T))/2, the warm-up multiplied as mmcv's.
    mmdetection ("steps"): base 0.1^n after n of the recipe's steps, the warm-up multiplied too.
    A recipe's min_lr is the value where each of them but the last ends in place of 0.
    """
    base, low = recipe.lr, recipe.min_lr
    warmup = min(recipe.warmup_iterations, recipe.iterations)
    reached, begin, end = warmup, 0, recipe.iterations
    if recipe.schedule == "mmseg1":
        reached, begin, end = max(warmup - 1, 1), warmup, recipe.iterations - 1
    ramp = 1.0
    if iteration < reached:
        ramp = 1 - (1 - iteration / reached) * (1 - recipe.warmup_ratio)
    past = max(iteration - begin, 0) / max(end - begin, 1)
    if recipe.schedule == "steps":
        return ramp * base * 0.1 ** sum(iteration >= step for step in recipe.steps)
    if recipe.schedule == "cosine":
        return ramp * (low + (base - low) * (1 + math.cos(math.pi * past)) / 2)
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
    weight_decay: float,
    groups: Mapping[str, Group],
    seen_as: Callable[[str], str] = str,
    backbone_lr_mult: float = 1.0,
) -> list[dict]:
    """Optimiser groups, each with its `lr_mult`, `weight_decay`, `params` and `names`.

    groups, backbone_lr_mult: as in a recipe (`Train`). seen_as: the name under which the groups'
    patterns see a tensor.
    ValueError if a pattern is found in no name: it would have no effect.
    """
    patterns = sorted(sorted(groups), key=len, reverse=True)
    names = {name: seen_as(name) for name, _ in model.named_parameters()}
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in names.values()):
            raise ValueError(
                f"train.groups has '{pattern}', but no tensor of the model has that in its name; "
                f"such names are {', '.join(list(names.values())[::-1][:4])}"
            )
    made: dict[tuple[float, float], dict] = {}
    for name, parameter in model.named_parameters():
        found = (groups[p] for p in patterns if re.search(p, names[name]))
        group = next(found, Group())
        factor = backbone_lr_mult if name.startswith("backbone.") else 1.0
        key = (group.lr_mult * factor, group.decay_mult * weight_decay)
        into = made.setdefault(
            key, {"lr_mult": key[0], "weight_decay": key[1], "params": [], "names": []}
        )
        into["params"].append(parameter)
        into["names"].append(name)
    return list(made.values())


def spare_undecayed(
    model: nn.Module, decayed: Literal["all", "all_but_norms", "matrices"]
) -> dict[str, Group]:
    """Makes groups that exempt from weight decay what is not `decayed` (`Pretrain`)."""
    names: Iterable[str] = ()
    if decayed == "matrices":
        names = (n for n, p in model.named_parameters() if p.ndim < 2 or n.endswith(".bias"))
    elif decayed == "all_but_norms":
        norms = ((n, m) for n, m in model.named_modules() if isinstance(m, NORMS))
        names = (n for prefix, m in norms for n, _ in m.named_parameters(prefix, recurse=False))
    return {f"^{re.escape(name)}$": Group(decay_mult=0.0) for name in names}


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


def make_sgd(groups: list[dict], momentum: float) -> SGD:
    """Makes SGD with momentum, whose learning rate `set_learning_rate` sets before every step.

    Its momenta start as zeros, which gives the same first step as torch's start without any: there
    the fused kernel leaves them unset where it skips the first step.
    """
    sgd = SGD(drop_names(groups), lr=0.0, momentum=momentum, fused=True)
    for group in sgd.param_groups:
        for weight in group["params"]:
            sgd.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return sgd


class RMSpropTF(Optimizer):
    """RMSprop as TensorFlow computes it, the optimiser of the lineage's ImageNet training.

    s <- s + (1 - alpha)(g^2 - s), m <- momentum m + lr g / sqrt(s + eps), w <- w - m, where the
    gradient g includes weight_decay * w. As in timm's "rmsproptf", epsilon is added under the root,
    the mean of squares starts at one, and the momentum sums updates that are already multiplied by
    the learning rate; torch's own RMSprop differs in all three.

    All tensors of a group are updated together. Where `found_inf`, a float scalar on their device,
    is 1, the step changes nothing: torch's fused kernel of SGD, which heeds it, does the writing.
    """

    _step_supports_amp_scaling = True  # GradScaler then sets `found_inf` and does not read it

    def __init__(self, groups: list[dict[str, Any]]):
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        assert closure is None
        for group in self.param_groups:
            if weights := [weight for weight in group["params"] if weight.grad is not None]:
                self._update(weights, group["lr"], group["weight_decay"])

    def _update(self, weights: list[Tensor], rate: float, decay: float) -> None:
        for weight in weights:
            if not self.state[weight]:
                start = {"square": torch.ones_like(weight), "momentum": torch.zeros_like(weight)}
                self.state[weight] |= start
        squares = [self.state[weight]["square"] for weight in weights]
        momenta = [self.state[weight]["momentum"] for weight in weights]
        gradients = listwise._foreach_add([w.grad for w in weights], weights, alpha=decay)
        excess = listwise._foreach_sub(squares, listwise._foreach_mul(gradients, gradients))
        self._descend(squares, excess, [], 1 - ALPHA)
        roots = listwise._foreach_add(squares, EPS)
        listwise._foreach_sqrt_(roots)
        updates = listwise._foreach_mul(momenta, MOMENTUM)
        listwise._foreach_addcdiv_(updates, gradients, roots, value=rate)
        self._descend(weights, updates, momenta, 1.0)

    def _descend(self, tensors: list[Tensor], slopes: Any, last: list[Tensor], rate: float) -> None:
        """Subtracts rate * slopes and copies the slopes to `last`, if given; heeds `found_inf`."""
        listwise._fused_sgd_(
            tensors,
            slopes,
            last,
            weight_decay=0.0,
            momentum=float(bool(last)),
            lr=rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=True,  # the kernel's momentum is then the slope itself
            found_inf=getattr(self, "found_inf", None),
        )
