"""Training with inputs and weights in 8 bits, by formula and beside ordinary training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from lemore.config.jobs import FinetuneJob, read_job
from lemore.config.read import build
from lemore.config.recipe import Train
from lemore.models.layers import ConvNorm
from lemore.runtime import checkpoint
from lemore.runtime.process import Stopped
from lemore.runtime.worker import Worker
from lemore.stages.workers import finetune
from lemore.training.quantization import round_input, round_layers, round_weight


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def test_weights_are_rounded_by_the_scale_of_their_channel():
    weight = torch.stack([draw(3, 2, 2), 100 * draw(3, 2, 2), torch.zeros(3, 2, 2)])
    weight.requires_grad_()
    rounded = round_weight(weight)
    rounded.sum().backward()
    for channel, found in zip(weight.tolist(), rounded.tolist(), strict=True):
        values, found = (torch.tensor(one).flatten().tolist() for one in (channel, found))
        scale = max(map(abs, values)) / 127
        expected = [round(v / scale) * scale if scale else 0.0 for v in values]
        assert found == pytest.approx(expected, rel=1e-5)
    assert weight.grad is not None and weight.grad.eq(1).all()


def test_inputs_are_rounded_within_the_mean_of_the_samples_extremes():
    x = draw(4, 3, 5, 5)
    x[0, 0, 0, 0], x[1, 0, 0, 0] = 9.0, 0.0
    x.requires_grad_()
    rounded = round_input(x)
    rounded.sum().backward()
    low = sum(sample.min().item() for sample in x) / 4
    high = sum(sample.max().item() for sample in x) / 4
    scale = (high - low) / 255
    zero = round(-low / scale)
    places = [min(max(round(v / scale) + zero, 0), 255) for v in x.flatten().tolist()]
    expected = torch.tensor([(place - zero) * scale for place in places]).view_as(x)
    torch.testing.assert_close(rounded.detach(), expected)
    assert rounded[1, 0, 0, 0] == 0 and rounded[0, 0, 0, 0].item() == pytest.approx(high, abs=scale)
    inside = (x / scale + zero).round().clamp(0, 255) == (x / scale + zero).round()
    assert x.grad is not None and (x.grad == inside.float()).all() and not inside.all()
    assert round_input(torch.zeros(2, 3, 4, 4)).eq(0).all()
    assert round_input(draw(2, 3, 4).abs()).min() >= 0  # the range holds 0, and no more of one side


def test_all_workers_round_by_one_range(monkeypatch):
    x = draw(4, 3, 5, 5)
    whole, (mine, theirs) = round_input(x), x.chunk(2)
    extremes = [torch.stack([s.min() for s in theirs]), torch.stack([s.max() for s in theirs])]
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(
        dist, "all_reduce", lambda one: one.add_(torch.stack([e.mean() for e in extremes]))
    )
    torch.testing.assert_close(round_input(mine), whole[:2])


@torch.no_grad()
def test_a_folded_norm_changes_no_rounding():
    layer = ConvNorm(6, 4, 3).eval()
    for tensor in (layer.bn.weight, layer.bn.running_var):
        assert tensor is not None
        tensor.uniform_(0.3, 3.0)
    layer.bn.weight[1] *= -1
    rounded = ConvNorm(6, 4, 3).eval()
    rounded.load_state_dict(layer.state_dict())
    rounded.conv.weight.copy_(round_weight(layer.conv.weight))
    layer.fold()
    rounded.fold()
    torch.testing.assert_close(round_weight(layer.conv.weight), rounded.conv.weight)


@pytest.mark.parametrize("channels_last", [False, True])
def test_only_training_rounds_and_names_stay(channels_last):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    x = draw(2, 3, 8, 8)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    expected = plain(x)
    weights = [round_weight(plain[k].weight) for k in (0, 3)]
    hidden = nn.functional.conv2d(round_input(x), weights[0], plain[0].bias).relu().flatten(1)
    rounded = nn.functional.linear(round_input(hidden), weights[1], plain[3].bias)
    names = [*plain.state_dict()]
    round_layers(plain)
    assert [*plain.state_dict()] == names
    torch.testing.assert_close(plain(x), rounded)
    assert not torch.allclose(rounded, expected, rtol=0, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(plain(x), rounded)
    assert plain.eval()(x).equal(expected)


def train(job: FinetuneJob, choice: str, data: Path, folder: Path, **keys) -> str:
    folder.mkdir(exist_ok=True)
    rounded = replace(job, train=replace(job.train, fake_quantize=choice))
    worker = Worker(data=data, folder=folder, seed=0, **keys)
    return finetune.train(rounded, worker)["weights_sha256"]


def test_a_recipe_asks_for_it_and_a_stopped_training_goes_on_bit_equal(tiny, tmp_path):
    short = {"iterations": 4, "checkpoint_every": 2, "validate_every": 0, "threads": 1}
    job = read_job(FinetuneJob, tiny.finetune_job("lraspp_mobilenet_v3_small", **short))
    alone = train(job, "none", tiny.data, tmp_path / "alone")
    whole = train(job, "int8", tiny.data, tmp_path / "whole")
    assert whole != alone
    steps = iter(range(10))
    with pytest.raises(Stopped):
        train(job, "int8", tiny.data, tmp_path / "cut", stop=lambda: next(steps) == 2)
    assert train(job, "int8", tiny.data, tmp_path / "cut") == whole
    weights = [checkpoint.load(tmp_path / name / "weights.pt") for name in ("alone", "whole")]
    assert weights[0]["state_dict"].keys() == weights[1]["state_dict"].keys()


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="fake_quantize is 'int4', expected one of none, int8"):
        build(Train, {"fake_quantize": "int4"}, "r.yaml", "train.")
