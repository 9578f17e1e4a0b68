"""Faults 8, 9 and 12 of docs/faults.md: steps that are not finite, that hang, that get no batch."""

import json
import os
import signal
import time
from dataclasses import replace

import pytest
import torch
from counting import Counting
from fault_training import ITERATIONS, Small, batches, hang, kill_a_loader, make_loop, start
from torch.amp.grad_scaler import GradScaler

from lemore.runtime import watchdog
from lemore.runtime.checkpoint import hash_tensors
from lemore.runtime.process import Stopped
from lemore.runtime.tracking.metrics_file import MetricsFile
from lemore.training import optim
from lemore.training import step as finite
from lemore.training.step import FiniteSteps, spread_nan

pytestmark = pytest.mark.usefixtures("one_thread")


def plain_loop(left_out: set[int]) -> str:
    """The training written out once more, without any guard; digest of its weights."""
    torch.manual_seed(3)
    model = Small()
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=(0.9, 0.999), weight_decay=0.01, fused=True
    )
    model.train()
    for i, batch in enumerate(batches(0, ITERATIONS)):
        torch.manual_seed((3 * 1_000_003 + i) * 1_009)
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - i / ITERATIONS)
        optimizer.zero_grad(set_to_none=True)
        if i in left_out:
            continue
        model(batch["x"]).square().mean().backward()
        optimizer.step()
    return hash_tensors(model.state_dict())


class Spoilt(torch.autograd.Function):
    """Leaves a value as it is and makes its gradient NaN."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


def spoilt(kind: str, bad: set[int]):
    """A loss that goes wrong in these iterations."""
    counter = iter(range(10_000))

    def loss(model, batch):
        x, iteration = batch["x"], next(counter)
        if iteration not in bad:
            return model(x).square().mean()
        if kind == "input":  # reaches BatchNorm's statistics
            return model(x * float("inf")).square().mean()
        value = model(x).square().mean()
        return Spoilt.apply(value) if kind == "gradient" else value + float(kind)

    return loss


def test_where_all_is_finite_no_bit_differs(tmp_path):
    made = make_loop(tmp_path)
    assert made.train().skipped_steps == 0
    assert hash_tensors(made.model.state_dict()) == plain_loop(set())


@pytest.mark.parametrize("kind", ["nan", "inf", "-inf", "gradient", "input"])
def test_a_step_that_is_not_finite_has_not_been(tmp_path, kind, caplog):
    bad = {7, 20, 21}
    made = make_loop(tmp_path, loss=spoilt(kind, bad), samples=lambda i: [f"image {i}"])
    assert made.train().skipped_steps == 3
    assert hash_tensors(made.model.state_dict()) == plain_loop(bad)
    rows = MetricsFile(tmp_path / "metrics.jsonl").read()
    assert [row["metrics"]["train/skipped_steps"] for row in rows] == [1, 1, 3, 3]
    assert all(row["metrics"]["train/loss"] < 10 for row in rows)
    assert "iteration 7: loss" in caplog.text and "step left out (3 so far)" in caplog.text


def test_the_count_outlives_a_stop(tmp_path):
    stops = iter(range(100))
    first = make_loop(tmp_path, loss=spoilt("nan", {7}), stop=lambda: next(stops) == 11)
    with pytest.raises(Exception, match="stopped after iteration 12"):
        first.train()
    assert make_loop(tmp_path).train()[:2] == (12, 1)


def test_many_in_a_row_end_it_and_name_the_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(finite, "MOST_IN_A_ROW", 10)
    made = make_loop(
        tmp_path, loss=spoilt("nan", set(range(12, 1000))), samples=lambda i: [f"image {i}"]
    )
    with pytest.raises(FloatingPointError, match=r"18 steps in a row.*not_finite\.json"):
        made.train()
    record = json.loads((tmp_path / "not_finite.json").read_text())
    assert [step["iteration"] for step in record] == list(range(20, 30))
    assert record[0]["samples"] == ["image 20"] and record[0]["loss"] == "nan"
    assert record[0]["learning_rate"] == pytest.approx(0.01 * (1 - 20 / ITERATIONS))
    state = made.checkpoints.load_newest()
    assert state is not None and state["finite"]["in_a_row"] > 10
    reached = make_loop(tmp_path / "other", loss=spoilt("nan", set(range(12, 40))))
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    assert hash_tensors(state["model"]) == hash_tensors(made.model.state_dict())
    assert reached.iterations == ITERATIONS


NORM = "body.1."


def half_loss(model, batch):
    with torch.autocast("cpu", torch.float16):
        output = model(batch["x"])
    return output.float().square().mean()


def half_scaler() -> GradScaler:
    """Its scale is too high at first, and again and again."""
    return GradScaler("cpu", init_scale=2.0**30, growth_interval=5)


def plain_half_loop(bad: int) -> tuple[str, int, dict]:
    """Mixed precision as torch documents it; digest, steps left out, and the scaler's state.

    BatchNorm's statistics, which torch lets a step that is left out change, are put back by hand.
    """
    torch.manual_seed(3)
    model, scaler, left_out = Small(), half_scaler(), 0
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01, fused=True)
    for i, batch in enumerate(batches(0, ITERATIONS)):
        torch.manual_seed((3 * 1_000_003 + i) * 1_009)
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - i / ITERATIONS)
        optimizer.zero_grad()
        before = {n: b.clone() for n, b in model.named_buffers() if n.startswith(NORM)}
        loss = half_loss(model, batch) * (float("nan") if i == bad else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scale = scaler.get_scale()
        scaler.update()
        if scaler.get_scale() < scale:
            left_out += 1
            model.load_state_dict(before, strict=False)
    return hash_tensors(model.state_dict()), left_out, scaler.state_dict()


def test_in_half_precision_guard_and_scaler_leave_out_the_same_steps(tmp_path):
    """Also over a stop: the scale is part of the state."""
    digest, left_out, scale = plain_half_loop(bad=25)
    assert left_out > 5
    for stop_at in (None, 6, 26):
        counter = iter(range(ITERATIONS))

        def loss(model, batch, counter=counter):
            return half_loss(model, batch) * (float("nan") if next(counter) == 25 else 1.0)

        folder, steps = tmp_path / f"{stop_at}", iter(range(1, 100))
        made = make_loop(folder, loss=loss, scaler=half_scaler())
        if stop_at:
            with pytest.raises(Stopped):
                replace(made, stop=lambda s=steps, at=stop_at: next(s) == at).train()
            made = make_loop(folder, loss=loss, scaler=half_scaler())
        assert made.train().skipped_steps == left_out
        assert hash_tensors(made.model.state_dict()) == digest
        assert made.scaler.state_dict() == scale


def make_rmsprop(groups):
    return optim.RMSpropTF(groups)


def make_sgd(groups):
    return optim.make_sgd(groups, 0.9)


def make_adamw(groups):
    return optim.make_adamw(groups, (0.9, 0.999))


def test_the_guard_never_waits_for_the_device():
    model = Small()
    groups = optim.group_parameters(model, 0.01, {})
    guard = FiniteSteps(model, optim.make_adamw(groups, (0.9, 0.999)), 1000)
    with Counting() as counted:
        for i in range(3):
            model.zero_grad()
            guard.remember()
            loss = model(torch.randn(2, 3, 8, 8)).mean() * (float("nan") if i == 1 else 1.0)
            spread_nan(loss).backward()
            guard.update(GradScaler(enabled=False))
            guard.finish(i, 0.1, loss)
        assert not counted.waits
        guard.read(lambda i: [])
        assert counted.waits and guard.skipped == 1


@pytest.mark.parametrize("make", [make_rmsprop, make_sgd, make_adamw])
def test_a_skipped_step_has_not_been_for_any_optimiser(make):
    """Two steps around one that is not finite give what the two alone give, to the bit."""
    found = []
    for factors in ((1.0, 3.0), (1.0, float("nan"), 3.0)):
        weight = torch.nn.Parameter(torch.ones(3))
        optimizer = make([{"params": [weight], "lr_mult": 1.0, "weight_decay": 0.1}])
        optim.set_learning_rate(optimizer, 0.5)
        guard = FiniteSteps(torch.nn.ParameterList([weight]), optimizer, iterations=10)
        for factor in factors:
            guard.remember()
            optimizer.zero_grad()
            spread_nan((weight * factor).square().sum()).backward()
            guard.update(GradScaler(enabled=False))
        found.append([weight, *optimizer.state[weight].values()])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_an_optimiser_that_would_not_skip_is_refused():
    weight = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(AssertionError, match="found_inf"):
        FiniteSteps(torch.nn.ParameterList([weight]), torch.optim.SGD([weight]), iterations=10)


# --- hanging


def test_a_step_that_hangs_is_ended_and_its_stack_told(tmp_path):
    process = start(hang, tmp_path, seconds=600.0, limit=2.0)
    process.join(60)
    assert process.exitcode == 1
    told = (tmp_path / "hang_rank0.txt").read_text()
    assert "small: worker 0 has spent 3 s in one step (limit 2 s" in told
    assert "in hanging_loss" in told and "in step" in told  # the functions on the stack


def test_a_process_that_was_suspended_does_not_hang(tmp_path):
    process = start(hang, tmp_path, seconds=0.0, limit=2.0, pause=0.2)
    while not (tmp_path / "iteration_00000005.json").exists():
        time.sleep(0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(4)
    os.kill(process.pid, signal.SIGCONT)
    process.join(60)
    assert process.exitcode == 0 and not (tmp_path / "hang_rank0.txt").exists()


def test_the_limit_follows_what_steps_take(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now[0])
    dog = watchdog.Watchdog("small", 0, tmp_path)
    assert dog.limit == 3600  # the first step compiles and fills caches
    for seconds in (400, 1, 2, 1):
        now[0] += seconds
        dog.start_phase("step")
    assert dog.limit == 30 * 400
    dog.start_phase("validation")
    assert dog.limit == 4 * 3600
    now[0] += 5
    dog.start_phase("step")
    dog.start_phase("validation")
    assert dog.limit == 300


def test_who_waits_for_the_first_workers_validation_does_not_hang(tmp_path):
    """It falls on a row's and a checkpoint's step, after which the others wait in a step."""
    dog, waits = watchdog.Watchdog("small", 1, tmp_path), []

    def loss(network, batch):
        waits.append(dog.current)
        return network(batch["x"]).square().mean()

    made = make_loop(tmp_path, loss=loss, validate_every=20, rank=1)
    made.run(0, dog)
    assert [waits[step] for step in (10, 20, 30)] == ["checkpoint", "validation", "checkpoint"]


# --- a loader's death


def test_a_loader_process_that_is_killed_is_told(tmp_path):
    process = start(kill_a_loader, tmp_path)
    process.join(60)
    told = (tmp_path / "told").read_text()
    assert "a process that prepares batches has died (DataLoader worker (pid" in told
    assert "lower train.loader_workers" in told
