"""Losses beside cross-entropy: closed forms, plain definitions, and a training with each."""

import math
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from sklearn.metrics import jaccard_score
from torch.utils._python_dispatch import TorchDispatchMode

from lemore.config.checks import has_own_loss
from lemore.config.jobs import FinetuneJob, read_job, write_job
from lemore.config.losses import CROSS_ENTROPY, Losses
from lemore.config.read import build, dump, plain, read_yaml
from lemore.config.recipe import Train
from lemore.models import list_modules
from lemore.models.segmentor import make_model
from lemore.runtime.checkpoint import hash_tensors, load
from lemore.runtime.worker import Worker
from lemore.stages.workers import finetune
from lemore.training.further_losses import (
    compute_dice_loss,
    compute_focal_loss,
    compute_lovasz_loss,
    compute_ohem_loss,
    compute_weighted_sum,
)
from tests.trained_models import make_job

MODEL = "lraspp_mobilenet_v3_small"
SHAPE = BATCH, CLASSES, HEIGHT, WIDTH = 2, 4, 5, 6


def draw(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits float64 and labels, of which class 3 is absent and some pixels are ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (BATCH, HEIGHT, WIDTH), generator=generator)
    label[:, 0, :3] = 255
    return logits, label.to(torch.uint8)


def list_pixels(logits: torch.Tensor, label: torch.Tensor) -> list[tuple[list[float], int]]:
    """(probabilities, class) of every pixel that counts, by loops and plain numbers."""
    found = []
    for b in range(BATCH):
        for y in range(HEIGHT):
            for x in range(WIDTH):
                if int(label[b, y, x]) != 255:
                    powers = [math.exp(float(logits[b, k, y, x])) for k in range(CLASSES)]
                    found.append(([e / sum(powers) for e in powers], int(label[b, y, x])))
    return found


def plain_focal(pixels, gamma):
    return sum(-((1 - p[k]) ** gamma) * math.log(p[k]) for p, k in pixels) / len(pixels)


def plain_ohem(pixels, threshold, least):
    ordered = sorted(pixels, key=lambda pixel: pixel[0][pixel[1]])
    hard = [(p, k) for i, (p, k) in enumerate(ordered) if i < least or p[k] < threshold]
    return sum(-math.log(p[k]) for p, k in hard) / len(hard)


def plain_dice(pixels):
    losses = []
    for k in {k for _, k in pixels}:
        overlap = sum(p[k] for p, own in pixels if own == k)
        sizes = sum(p[k] for p, _ in pixels) + sum(own == k for _, own in pixels)
        losses.append(1 - (2 * overlap + 1) / (sizes + 1))
    return sum(losses) / len(losses)


def plain_lovasz(pixels):
    """sum_i m_i (D({1..i}) - D({1..i-1})) over falling errors m, D being 1 - IoU of wrong sets."""
    losses = []
    for k in {k for _, k in pixels}:
        inside = {i for i, (_, own) in enumerate(pixels) if own == k}
        errors = [1 - p[k] if own == k else p[k] for p, own in pixels]
        wrong: set[int] = set()
        loss = before = 0.0
        for i in sorted(range(len(pixels)), key=lambda i: -errors[i]):
            wrong.add(i)
            now = 1 - len(inside - wrong) / len(inside | wrong)
            loss, before = loss + errors[i] * (now - before), now
        losses.append(loss)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_their_plain_definitions(seed):
    logits, label = draw(seed)
    pixels = list_pixels(logits, label)
    for gamma in (0.5, 2.0):
        expected = plain_focal(pixels, gamma)
        assert float(compute_focal_loss(logits, label, gamma)) == pytest.approx(expected, rel=1e-9)
    for threshold, share in ((0.3, 0.05), (0.01, 0.4), (0.7, 0.1)):
        expected = plain_ohem(pixels, threshold, math.ceil(share * label.numel()))
        found = float(compute_ohem_loss(logits, label, threshold, share))
        assert found == pytest.approx(expected, rel=1e-9)
    assert float(compute_dice_loss(logits, label)) == pytest.approx(plain_dice(pixels), rel=1e-9)
    found = float(compute_lovasz_loss(logits, label))
    assert found == pytest.approx(plain_lovasz(pixels), rel=1e-9)


def test_focal_loss_of_even_odds_and_of_two_classes():
    label = draw()[1]
    even = float(compute_focal_loss(torch.zeros(SHAPE, dtype=torch.float64), label, 3.0))
    assert even == pytest.approx((1 - 1 / CLASSES) ** 3 * math.log(CLASSES))
    logits, label = draw()
    known = F.cross_entropy(logits, label.long(), ignore_index=255)
    assert float(compute_focal_loss(logits, label, 0.0)) == pytest.approx(float(known))
    x, target = logits[:, :1], (label == 1).double()[:, None]
    theirs = torchvision.ops.sigmoid_focal_loss(x, target, alpha=-1, gamma=2.0, reduction="mean")
    two = torch.cat([torch.zeros_like(x), x], 1)
    ours = compute_focal_loss(two, target[:, 0].to(torch.uint8), 2.0)
    assert float(ours) == pytest.approx(float(theirs))


def test_hard_examples_are_all_pixels_or_the_hardest_one():
    logits, label = draw()
    each = F.cross_entropy(logits, label.long(), ignore_index=255, reduction="none")
    known = label != 255
    every = float(compute_ohem_loss(logits, label, 1.0, 0.01))
    assert every == pytest.approx(float(each[known].mean()))
    hardest = float(compute_ohem_loss(logits, label, 1e-9, 1e-9))
    assert hardest == pytest.approx(float(each.max()))


def test_dice_of_even_odds_and_of_a_perfect_answer():
    label = torch.zeros(BATCH, HEIGHT, WIDTH, dtype=torch.uint8)
    n = label.numel()
    even = float(compute_dice_loss(torch.zeros(SHAPE, dtype=torch.float64), label))
    assert even == pytest.approx(1 - (2 * n / CLASSES + 1) / (n / CLASSES + n + 1))
    certain = 1000 * F.one_hot(label.long(), CLASSES).permute(0, 3, 1, 2).double()
    assert float(compute_dice_loss(certain, label)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_lovasz_of_certain_answers_is_one_minus_iou(seed):
    logits, label = draw(seed)
    labels, answers = label.numpy().ravel(), logits.argmax(1).numpy().ravel()
    known = labels != 255
    classes = np.unique(labels[known])
    iou = jaccard_score(labels[known], answers[known], labels=classes, average="macro")
    certain = 1000 * F.one_hot(logits.argmax(1), CLASSES).permute(0, 3, 1, 2).double()
    assert float(compute_lovasz_loss(certain, label)) == pytest.approx(1 - iou)


LOSSES = {
    "cross_entropy": {},
    "focal": {"gamma": 1.5},
    "ohem": {"threshold": 0.5, "min_share": 0.2},
    "dice": {},
    "lovasz": {},
}


def sum_of(names: dict, logits: torch.Tensor, label: torch.Tensor, weight=None) -> torch.Tensor:
    def cross_entropy(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(x, y.long(), weight, ignore_index=255, reduction="sum") / y.numel()

    losses = build(Losses, names, "test")
    return compute_weighted_sum(losses, logits, label, cross_entropy, "all_pixels", weight)


def test_a_sum_is_that_of_its_parts_and_class_weights_multiply_pixels():
    logits, label = draw()
    logits = logits.float()
    apart = {name: float(sum_of({name: keys}, logits, label)) for name, keys in LOSSES.items()}
    weights = dict(zip(LOSSES, (1.0, 0.5, 2.0, 3.0, 0.25), strict=True))
    both = {name: keys | {"weight": weights[name]} for name, keys in LOSSES.items()}
    expected = sum(weights[name] * apart[name] for name in LOSSES)
    assert float(sum_of(both, logits, label)) == pytest.approx(expected, rel=1e-6)
    alone = label.where(label == 1, 255)  # with one class in the labels its weight is a factor
    weight = torch.tensor([5.0, 3.0, 7.0, 2.0])
    for name in ("cross_entropy", "focal", "ohem"):
        plain_loss, weighted = (sum_of({name: {}}, logits, alone, w) for w in (None, weight))
        assert float(weighted) == pytest.approx(3 * float(plain_loss), rel=1e-6), name


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_right_and_ignored_pixels_get_none(name):
    logits, label = (part[:1, ..., :3, :3] for part in draw(4))
    logits = logits.clone().requires_grad_()
    functions = {
        "cross_entropy": lambda x: F.cross_entropy(x, label.long(), ignore_index=255),
        "focal": lambda x: compute_focal_loss(x, label, 2.0),
        "ohem": lambda x: compute_ohem_loss(x, label, 0.5, 0.2),
        "dice": lambda x: compute_dice_loss(x, label),
        "lovasz": lambda x: compute_lovasz_loss(x, label),
    }
    assert torch.autograd.gradcheck(functions[name], (logits,))
    (gradient,) = torch.autograd.grad(functions[name](logits), logits)
    assert not gradient[0, :, label[0] == 255].any()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "cross_entropy"])
def test_a_batch_without_labels_costs_nothing(name):
    logits = draw()[0].float().requires_grad_()
    loss = sum_of({name: {}}, logits, torch.full((BATCH, HEIGHT, WIDTH), 255, dtype=torch.uint8))
    loss.backward()
    assert float(loss.detach()) == 0 and logits.grad is not None and not logits.grad.any()


class NoWaiting(TorchDispatchMode):
    """Refuses the operations for which the host waits for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in ("_local_scalar_dense", "nonzero", "is_nonzero")
        return func(*args, **(kwargs or {}))


def test_the_host_never_waits():
    logits, label = draw()
    logits = logits.float().requires_grad_()
    names = {name: keys for name, keys in LOSSES.items() if name != "cross_entropy"}
    with NoWaiting():
        sum_of(names, logits, label, torch.ones(CLASSES)).backward()


def test_what_a_recipe_may_not_say():
    for values, words in (
        ({}, "losses.losses names none"),
        ({"dise": {}}, "did you mean 'dice'"),
        ({"ohem": {"threshold": 1.5}}, "threshold"),
    ):
        with pytest.raises(ValueError, match=words):
            build(Losses, values, "r.yaml", "losses.")
    with pytest.raises(ValueError, match="has a loss of its own"):
        job = make_job("pem_stdc1")
        job = replace(job, train=replace(job.train, losses=build(Losses, {"dice": {}}, "r")))
        finetune.Loss(job, make_model(job).decode_head, torch.device("cpu"), None)


def test_heads_with_a_loss_of_their_own_are_found_without_importing_them():
    found = {head for head in list_modules("decode_head") if has_own_loss(head)}
    own = set()
    for head in list_modules("decode_head"):
        module = import_module(f"lemore.models.decode_heads.{head}")
        kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
        own |= {head} if any("loss" in vars(kind) for kind in kinds) else set()
    assert found == own == {"pem"}


def test_keys_at_their_defaults_rerun_nothing(tmp_path):
    job = make_job()
    values = plain(job)
    for name in ("losses", "freeze", "backbone_lr_mult", "rare_class_share", "teacher"):
        del values["train"][name]
    path = tmp_path / "job.yaml"
    path.write_text(dump(values))
    write_job(path, job)
    assert read_yaml(path) == values and read_job(FinetuneJob, path) == job
    assert job.train.losses == CROSS_ENTROPY


def test_class_weights_by_name(tiny):
    recipe = replace(make_job().train, class_weight={"class 2": 4.0, "class 0": 0.5})
    weight = finetune.make_class_weight(recipe, tiny.data, torch.device("cpu"))
    assert weight is not None and weight.tolist() == [0.5, 1.0, 4.0, 1.0]
    recipe = replace(recipe, class_weight={"clas 2": 4.0})
    with pytest.raises(ValueError, match=r"class_weight\.clas 2 is no class of tiny; did you mean"):
        finetune.make_class_weight(recipe, tiny.data, torch.device("cpu"))
    values = plain(recipe) | {"class_weight": {"class 1": -1.0}}
    with pytest.raises(ValueError, match=r"class_weight\.class 1 is -1.0, expected a number from"):
        build(Train, values, "r.yaml")


def test_a_training_with_each(tiny, tmp_path):
    small = {"iterations": 3, "checkpoint_every": 3, "validate_every": 0, "threads": 1}
    choices = [{"losses": {name: keys}} for name, keys in LOSSES.items()]
    choices += [{"losses": {"cross_entropy": {}, "lovasz": {"weight": 0.5}}}]
    choices += [{"class_weight": {"class 3": 9.0}}, {"rare_class_share": 0.5}]
    digests = []
    for number, choice in enumerate(choices):
        job = read_job(FinetuneJob, tiny.finetune_job(MODEL, **small, **choice))
        folder = tmp_path / str(number)
        folder.mkdir()
        record = finetune.train(job, Worker(data=tiny.data, folder=folder, seed=0))
        state = load(folder / "weights.pt")["state_dict"]
        assert all(bool(torch.isfinite(tensor).all()) for tensor in state.values())
        assert record["skipped_steps"] == 0 and record["weights_sha256"] == hash_tensors(state)
        digests.append(record["weights_sha256"])
    assert len(set(digests)) == len(choices), "each choice has its effect"
