"""Options of a recipe, each against a closed form, and resumable to the bit."""

import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from lemore.config.jobs import FinetuneJob, read_job
from lemore.config.read import build, plain
from lemore.config.recipe import Pretrain, Train
from lemore.config.recipe_files import load_pretrain, load_recipe
from lemore.data.normalize import normalize
from lemore.models.segmentor import make_model
from lemore.runtime import checkpoint
from lemore.runtime.checkpoint import Checkpoints, hash_tensors
from lemore.runtime.process import Stopped
from lemore.runtime.worker import Worker
from lemore.stages.workers import finetune, shared
from lemore.trained.find import read_trained
from lemore.training import losses, optim
from lemore.training.loop import TrainingLoop
from lemore.training.quantization import round_layers
from lemore.training.step import Average, add_gradient, split_batch
from tests.trained_models import make_job, make_photo, make_settings, make_state, write_checkpoint

RECIPES = Path(__file__).parents[2] / "config/recipes"
ITERATIONS = 12
CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(3)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.2))
    return nn.Sequential(body, nn.Conv2d(4, 2, 1))


def batches(start: int):
    for i in range(start, ITERATIONS):
        yield {"x": torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(i))}


def loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(batch["x"]).float().square().mean()


def half_loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.autocast("cpu", torch.float16):
        output = model(batch["x"])
    return output.float().square().mean()


def make_loop(folder: Path, option: str, stop=lambda: False) -> TrainingLoop:
    model = network()
    if option == "fake_quantize":
        round_layers(model)
    groups = optim.group_parameters(model, 0.01, {})
    half = option == "fp16"
    return TrainingLoop(
        name="tiny",
        model=model,
        optimizer=optim.RMSpropTF(optim.drop_names(groups))
        if option == "rmsprop"
        else optim.make_adamw(groups, (0.9, 0.999)),
        learning_rate=lambda i: 0.01 * (1 - i / ITERATIONS),
        batches=batches,
        loss=half_loss if half else loss,
        iterations=ITERATIONS,
        seed=3,
        checkpoints=Checkpoints(folder),
        checkpoint_every=4,
        record=lambda iteration, metrics: None,
        stop=stop,
        micro_batch=2 if option == "micro_batch" else 0,
        scaler=GradScaler("cpu", init_scale=2.0**20, growth_interval=3, enabled=half),
        average=Average(model, 0.9) if option == "ema" else None,
    )


@pytest.mark.parametrize("option", ["ema", "fake_quantize", "fp16", "micro_batch", "rmsprop"])
def test_resume_is_bit_exact_with(option, tmp_path):
    """The average and the scale of half precision included."""
    whole = make_loop(tmp_path / "whole", option)
    whole.train()
    for cut in (1, 4, 7, ITERATIONS - 1):  # before, at and after a checkpoint
        calls = iter(range(100))
        part = make_loop(
            tmp_path / str(cut), option, stop=lambda cut=cut, c=calls: next(c) == cut - 1
        )
        with pytest.raises(Stopped, match=f"after iteration {cut}"):
            part.train()
        again = make_loop(tmp_path / str(cut), option)
        assert again.train().resumed_at == cut
        assert hash_tensors(again.model.state_dict()) == hash_tensors(whole.model.state_dict())
        assert hash_tensors(again.kept.state_dict()) == hash_tensors(whole.kept.state_dict())
        assert again.scaler.state_dict() == whole.scaler.state_dict()
    assert (whole.kept is whole.model) == (option != "ema")


def test_half_precision_learns_and_lowers_a_scale_that_is_too_high(tmp_path):
    one = make_loop(tmp_path, "fp16")
    before = half_loss(one.model, next(batches(0))).item()
    one.train()
    assert half_loss(one.model, next(batches(0))).item() < before
    assert one.scaler.get_scale() != 2.0**20


def test_micro_batches_add_up_to_the_gradient_of_the_batch():
    model = nn.Conv2d(3, 2, 3).double()
    batch = {"x": torch.randn(5, 3, 8, 8, dtype=torch.float64), "label": torch.arange(5)}
    assert [len(part["label"]) for part in split_batch(batch, 2)] == [2, 2, 1]
    whole = [
        len(part) for part in (split_batch(batch, 0), split_batch(batch, 5), split_batch(batch, 9))
    ]
    assert whole == [1, 1, 1]
    found = []
    for micro_batch in (0, 1, 2, 5):
        model.zero_grad()
        value = add_gradient(square, model, batch, micro_batch, GradScaler(enabled=False))
        assert model.weight.grad is not None
        found.append((value, model.weight.grad.clone()))
    for value, gradient in found[1:]:
        torch.testing.assert_close(value, found[0][0])
        torch.testing.assert_close(gradient, found[0][1])


def square(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(batch["x"]).square().mean()


def test_the_average_follows_its_formula():
    model = nn.BatchNorm1d(1, affine=False)
    average, expected = Average(model, 0.5), 0.0
    for i in range(30):
        assert model.running_mean is not None and model.num_batches_tracked is not None
        model.running_mean.fill_(float(i))
        model.num_batches_tracked.fill_(i)
        average.follow(model, i)
        decay = min(0.5, (1 + i) / (10 + i))
        expected = decay * expected + (1 - decay) * i
        assert float(average.module.running_mean) == pytest.approx(expected, rel=1e-5)
        assert int(average.module.num_batches_tracked) == i


def test_rmsprop_is_tensorflows():
    """s = 0.9 s + 0.1 g^2 from s = 1, m = 0.9 m + lr g / sqrt(s + 0.001), w = w - m."""
    weight = nn.Parameter(torch.tensor([2.0, -3.0]))
    optimizer = optim.RMSpropTF([{"params": [weight], "lr": 0.1, "weight_decay": 0.01}])
    w, s, m = np.array([2.0, -3.0]), np.ones(2), np.zeros(2)
    for step in range(5):
        optimizer.param_groups[0]["lr"] = rate = 0.1 / (step + 1)
        weight.grad = torch.tensor([0.5, 4.0]) * (step + 1)
        optimizer.step()
        g = np.array([0.5, 4.0]) * (step + 1) + 0.01 * w
        s = 0.9 * s + 0.1 * g**2
        m = 0.9 * m + rate * g / np.sqrt(s + 1e-3)
        w = w - m
        assert weight.detach().numpy() == pytest.approx(w, rel=1e-5)


def test_the_lineages_rate_falls_by_steps():
    """0.064 * 0.973 ^ floor(epochs / 2.4), after a warm-up of 10 epochs of 1251 iterations."""
    recipe = load_pretrain(RECIPES / "paper", "imagenet_1k", "lemore")
    rate = optim.make_schedule(recipe)
    assert rate(0) == pytest.approx(0.064 / 12510)
    assert rate(12509) == pytest.approx(0.064)
    for epoch, steps in ((10, 4), (12, 5), (24, 10), (100, 41), (599, 249)):
        assert rate(epoch * 1251 + 10) == pytest.approx(0.064 * 0.973**steps)
    assert recipe.iterations == 600 * 1251 and recipe.batch_size == 1024


def test_the_cosine_ends_at_min_lr():
    recipe = load_pretrain(RECIPES / "scenes", "imagenet_1k_scenes", "lemore")
    rate = optim.make_schedule(recipe)
    assert rate(recipe.warmup_iterations - 1) == recipe.lr
    middle = (recipe.warmup_iterations + recipe.iterations) // 2
    assert rate(middle) == pytest.approx((recipe.lr + recipe.min_lr) / 2)
    assert rate(recipe.iterations) == pytest.approx(recipe.min_lr)


def test_a_run_changes_its_pretraining_too():
    changes = {"pretrain": {"iterations": 7, "ema": 0.5}, "train": {"ema": 0.9}}
    pretrain = load_pretrain(RECIPES / "scenes", "imagenet_1k_scenes", "lemore", changes)
    assert (pretrain.iterations, pretrain.ema) == (7, 0.5)
    recipe, _ = load_recipe(RECIPES / "paper", "ade20k", "lemore", changes)
    assert (recipe.ema, recipe.iterations) == (0.9, 160_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ema": 1.0}, "ema is 1.0, expected a number from 0"),
        ({"micro_batch": -1}, "micro_batch is -1"),
        ({"precision": "fp8"}, "precision is 'fp8', expected one of fp32, bf16, fp16"),
        ({"mixup": 0.2, "micro_batch": 3}, "mixup is 0.2, cutmix 0.0, and they pair images"),
        ({"rand_augment": [9.0]}, "rand_augment is .*, expected a list of 2"),
        ({"step_decay": [0.9, 0]}, "step_decay.1. is 0"),
    ],
)
def test_options_without_meaning_are_refused(change, message):
    recipe = load_pretrain(RECIPES / "paper", "imagenet_1k", "lemore")
    with pytest.raises(ValueError, match=message):
        build(Pretrain, {**vars(recipe), **change}, "recipe")


NEW = ("precision", "compile", "micro_batch", "ema", "fused_loss")


def test_recipes_of_earlier_checkpoints_are_read_with_everything_off():
    recipe, _ = load_recipe(RECIPES / "paper", "ade20k", "lemore", {})
    earlier = {key: value for key, value in plain(recipe).items() if key not in NEW}
    off = build(Train, earlier, "checkpoint")
    assert [getattr(off, key) for key in NEW] == ["fp32", False, 0, 0.0, False]


def test_an_earlier_checkpoint_predicts_alike(tmp_path):
    config = make_settings()
    weights = write_checkpoint(tmp_path / "new.pt", config)
    for key in NEW:
        del config["train"][key]
    earlier = write_checkpoint(tmp_path / "earlier.pt", config)
    image = torch.from_numpy(make_photo(1)).permute(2, 0, 1)[None] / 64 - 2
    with torch.inference_mode():
        found = [read_trained(path).network()(image) for path in (weights, earlier)]
    assert torch.equal(*found)


# --- precision


@pytest.mark.parametrize("model", ["lemore", "topformer_t"])
def test_half_precision_is_that_of_a_plain_loop(model):
    """autocast of the network, the loss on logits in fp32; and the loss is near that in fp32."""
    job = make_job(model)
    recipe = job.train
    state, batch = make_state(make_settings(model)), crops()

    def differentiate(loss) -> tuple[torch.Tensor, float]:
        network_ = make_model(
            replace(job, train=replace(recipe, dropout=0.0, drop_path=0.0))
        ).train()
        network_.load_state_dict(state)
        value = loss(network_)
        value.backward()
        gradients = [p.grad for p in network_.parameters()]
        assert {g.dtype for g in gradients} == {torch.float32}
        return torch.cat([g.flatten() for g in gradients]), value.item()

    def ours(precision: str):
        chosen = replace(recipe, precision=precision, channels_last=False)
        return lambda net: finetune.Loss(replace(job, train=chosen), net.decode_head, CPU, None)(
            net, batch
        )

    def plain(network_: nn.Module) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = network_(normalize(batch["image"], None))
        full = nn.functional.interpolate(logits.float(), (64, 64), mode="bilinear")
        return nn.functional.cross_entropy(full, batch["label"].long(), ignore_index=255)

    found, value = differentiate(ours("bf16"))
    expected, _ = differentiate(plain)
    assert float(torch.cosine_similarity(found, expected, dim=0)) > 0.999
    _, exact = differentiate(ours("fp32"))
    assert value != exact and value == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("kernel", [(3, 1), (1, 3), (3, 3)])
@pytest.mark.parametrize("dilation", [2, 4])
def test_the_gradient_of_dilated_convolutions_is_right_in_half_precision(kernel, dilation):
    """Against fp32; before, memory is filled with NaN and given back."""
    padding = tuple(dilation * (side // 2) for side in kernel)
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 16, kernel, 1, padding, dilation, groups=16, bias=False)
    recipe, _ = load_recipe(RECIPES / "paper", "ade20k", "lemore", {})
    x = torch.randn(4, 16, 32, 32).contiguous(memory_format=torch.channels_last)
    (expected,) = torch.autograd.grad(conv(x).square().sum(), conv.weight)
    shared.place(conv, replace(recipe, precision="bf16"), CPU)
    for _ in range(3):
        filled = [torch.full((2**i,), torch.nan) for i in range(4, 19)]
        del filled
        with torch.autocast("cpu", torch.bfloat16):
            output = conv(x.bfloat16())
        assert output.dtype == torch.bfloat16
        (found,) = torch.autograd.grad(output.float().square().sum(), conv.weight)
        assert float((found - expected).norm() / expected.norm()) < 0.01


def test_a_gpu_that_only_emulates_bfloat16_is_refused(monkeypatch):
    recipe, _ = load_recipe(RECIPES / "paper", "ade20k", "lemore", {})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    shared.check_bfloat16(replace(recipe, precision="fp16"))
    with pytest.raises(ValueError, match="bf16, which Tesla T4 does not compute; set precision"):
        shared.check_bfloat16(replace(recipe, precision="bf16"))


def crops() -> dict[str, torch.Tensor]:
    """A batch as the loader gives it."""
    images = np.stack([make_photo(seed, (64, 64)) for seed in range(8)]).transpose(0, 3, 1, 2)
    return {
        "image": torch.from_numpy(images.copy()),
        "label": torch.from_numpy(images[:, 0] // 64),
        "valid": torch.tensor([(64, 64)] * 8, dtype=torch.int32),
    }


# --- fused loss


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("classes", "logits", "label"),
    [
        (150, (8, 6), (64, 48)),
        (2, (5, 7), (40, 56)),  # rows by 8, columns by 8
        (3, (7, 5), (21, 17)),  # an odd factor, and columns by none
        (4, (1, 1), (64, 64)),
        (5, (16, 16), (16, 16)),
    ],
)
@pytest.mark.parametrize("values", [1, 2**21])
def test_the_fused_loss_is_the_plain_one(monkeypatch, weighted, classes, logits, label, values):
    """Value and gradient in float64, in bands of one row and in a single one."""
    monkeypatch.setattr(losses, "BAND_VALUES", values)
    torch.manual_seed(classes)
    plain = 10 * torch.randn(2, classes, *logits, dtype=torch.float64)
    plain, fused = plain.clone().requires_grad_(), plain.clone().requires_grad_()
    target = torch.randint(0, classes, (2, *label), dtype=torch.uint8)
    target[1, :3] = 255
    weight = torch.rand(classes, dtype=torch.float64) if weighted else None
    full = nn.functional.interpolate(plain, label, mode="bilinear", align_corners=False)
    expected = nn.functional.cross_entropy(
        full, target.long(), weight, ignore_index=255, reduction="sum"
    )
    (expected / target.numel()).backward()
    value = losses.compute_segmentation_loss(fused, target, "all_pixels", weight, fused=True)
    (3 * value).backward()
    torch.testing.assert_close(value, expected / target.numel(), rtol=1e-12, atol=0)
    assert plain.grad is not None and fused.grad is not None
    torch.testing.assert_close(fused.grad, 3 * plain.grad, rtol=1e-9, atol=1e-13)


def test_the_fused_loss_of_certain_and_of_ignored_pixels():
    logits = torch.zeros(1, 3, 2, 2)
    logits[:, 0] = 1e4  # exp would overflow; the wrong class costs the difference
    label = torch.full((1, 16, 16), 1, dtype=torch.uint8)
    assert float(losses.compute_segmentation_loss(logits, label, "valid_pixels", fused=True)) == 1e4
    label[:] = 255
    assert float(losses.compute_segmentation_loss(logits, label, "valid_pixels", fused=True)) == 0.0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("batch", "classes", "logits", "label"),
    [(5, 150, (8, 6), (64, 48)), (2, 3, (7, 5), (50, 17)), (1, 2, (4, 4), (16, 16))],
)
def test_the_loss_of_other_devices_is_the_plain_one(weighted, batch, classes, logits, label):
    """In float32, by parts of the batch, to 1e-6; sizes need not divide."""
    torch.manual_seed(classes)
    x = 4 * torch.randn(batch, classes, *logits)
    target = torch.randint(0, classes, (batch, *label), dtype=torch.uint8)
    target[0, :3] = 255
    weight = torch.rand(classes) if weighted else torch.ones(classes)
    total, gradient = losses.sum_over_images(x, target, weight)
    plain = x.double().requires_grad_()
    full = nn.functional.interpolate(plain, label, mode="bilinear", align_corners=False)
    expected = nn.functional.cross_entropy(
        full, target.long(), weight.double(), ignore_index=255, reduction="sum"
    )
    (slope,) = torch.autograd.grad(expected, plain)
    assert float(total) == pytest.approx(expected.item(), rel=1e-6)
    assert float((gradient - slope).abs().max() / slope.abs().max()) < 1e-6


def test_sizes_that_do_not_divide_take_the_plain_loss():
    logits, label = torch.randn(1, 4, 7, 7), torch.randint(0, 4, (1, 50, 50), dtype=torch.uint8)
    both = [
        losses.compute_segmentation_loss(logits, label, "all_pixels", fused=f)
        for f in (True, False)
    ]
    assert torch.equal(*both)


# --- checkpoints in the background


def test_a_checkpoint_holds_the_state_of_its_time(tmp_path, monkeypatch):
    go, write = threading.Event(), checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *args: go.wait(10) and write(*args))
    weight, checkpoints = torch.zeros(3), Checkpoints(tmp_path)
    with checkpoints.write_in_background():
        checkpoints.save(5, {"model": {"w": weight}, "nested": [{"w": weight}]})
        assert checkpoints.list_paths() == []
        weight += 1  # the training has gone on
        go.set()
    state = Checkpoints(tmp_path).load_newest()
    assert state is not None and state["iteration"] == 5
    assert state["model"]["w"].tolist() == state["nested"][0]["w"].tolist() == [0, 0, 0]


def test_a_write_that_fails_stops_the_training(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "save", full)
    steps = []
    tiny = make_loop(tmp_path, "none")
    recorded = replace(tiny, record=lambda iteration, metrics: steps.append(iteration))
    with pytest.raises(OSError, match="No space left"):
        recorded.train()
    assert steps == []  # the second checkpoint, at iteration 8, meets the failure of the first


# --- compile


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_a_compiled_network_trains_alike():
    plain, model = network(), network()
    for dropout in (plain[0][2], model[0][2]):
        dropout.p = 0.0  # drawn otherwise when compiled
    compiled = torch.compile(model)
    for x in (torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)):
        for network_, called in ((plain, plain), (model, compiled)):
            network_.zero_grad()
            called(x).square().mean().backward()
        for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_a_compiled_training_runs_from_start_to_end(tiny, tmp_path, monkeypatch):
    """The loop and all around it; without the C++ compiler, which the test above needs."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda m: real(m, backend="eager"))
    monkeypatch.setenv("CXX", sys.executable)  # stands for the compiler
    path = tiny.finetune_job(
        "lemore_t", iterations=1, warmup_iterations=1, compile=True, loader_workers=0, threads=1
    )
    job = read_job(FinetuneJob, path)
    record = finetune.train(job, Worker(data=tiny.data, folder=tmp_path, seed=0))
    assert record["iterations"] == 1 and (tmp_path / "weights.pt").exists()
