"""`lemore selftest`: its checks pass here, and each finds a fault that is planted in its path."""

import json
import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from lemore.data import loader
from lemore.data.augment import photometric_batch
from lemore.evaluation import inference, segmentation
from lemore.profiling import latency
from lemore.runtime.device import choose_device
from lemore.stages.selftest import run as selftest
from lemore.stages.selftest import trainings
from lemore.stages.selftest.bench import Bench
from lemore.stages.selftest.outcome import Figure, Skipped, run_check
from lemore.stages.workers import finetune
from lemore.trained import exported
from lemore.trained import model as trained_model
from lemore.training import losses, step

TOGETHER = [name for name in selftest.CHECKS if name not in ("compile", "workers")]


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    """One bench for all tests: what the CPU computes is made once, before any fault."""
    torch.set_num_threads(1)
    return Bench(tmp_path_factory.mktemp("selftest"), torch.device("cpu"), 1)


@pytest.fixture(autouse=True)
def quiet():
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def change(patch, place, name, wrap):
    """Puts wrap(original) in the place of a function."""
    original = getattr(place, name)
    patch.setattr(place, name, lambda *args, **kwargs: wrap(original, *args, **kwargs))


def scale_loss(patch, precision="fp32", factor=1.05):
    """The loss of one precision is off by 5 %."""

    def wrap(original, self, *args):
        loss = original(self, *args)
        return loss * factor if self.recipe.precision == precision else loss

    change(patch, finetune.Loss, "cross_entropy", wrap)


def lose_average(patch):
    change(patch, step.Average, "follow", lambda original, *args: None)


def lose_a_part(patch):
    change(patch, step, "split_batch", lambda original, *args: original(*args)[:-1])


def lose_momentum(patch):
    change(patch, torch.optim.Optimizer, "load_state_dict", lambda original, *args: None)


def weaken_adamw(patch):
    change(patch, torch.optim.AdamW, "step", lambda original, self, *args: None)


def scale_pretraining(patch):
    change(
        patch,
        losses,
        "compute_classification_loss",
        lambda original, *args: 1.05 * original(*args),
    )


def lose_guard(patch):
    change(patch, step.FiniteSteps, "update", lambda original, self, scaler: self.optimizer.step())


def lose_distortion(patch):
    change(patch, photometric_batch, "distort", lambda original, images, draws: images)


def mix_up_batches(patch):
    def wrap(original, *args):
        for batch in original(*args):
            yield batch | {"image": batch["image"].flip(0)}

    change(patch, loader, "_yield_from_workers", wrap)


def shift_labels(patch):
    def wrap(original, *args):
        return np.roll(original(*args), 3, axis=1)

    change(patch, segmentation, "label_passes", wrap)


def forget_mirroring(patch):
    change(patch, inference, "_flip", lambda original, window, width: window)


def shift_windows(patch):
    def wrap(original, *args):
        for window in original(*args):
            yield window._replace(logits=window.logits.roll(1, 3))

    change(patch, inference, "_run_windows", wrap)


def shift_prediction(patch):
    shifted = lambda original, *args: np.roll(original(*args), 3, axis=1)  # noqa: E731
    change(patch, trained_model, "label_passes", shifted)


def shift_tiles(patch):
    def wrap(original, *args, **kwargs):
        return np.roll(original(*args, **kwargs), 3, axis=1)

    change(patch, trained_model, "label_tiles", wrap)


def stop_the_clock_early(patch):
    change(patch, latency, "_time", lambda original, run: original(run) / 10)


def export_a_wrong_weight(patch):
    def wrap(original, *args, **kwargs):
        network = original(*args, **kwargs)
        with torch.no_grad():
            next(p for p in network.parameters() if p.ndim == 4).mul_(1.1)
        return network

    change(patch, exported, "bake", wrap)


def compute_wrongly(patch):
    change(patch, nn.Conv2d, "_conv_forward", lambda original, *args: 1.02 * original(*args))


def leak(patch):
    kept = []

    def wrap(original, *args):
        kept.append(torch.ones(4_000_000))
        return original(*args)

    change(patch, finetune.Loss, "images", wrap)


def lose_speed(patch):
    def wrap(original, *args):
        raise RuntimeError("CUDA error: out of memory")

    change(patch, finetune.Loss, "images", wrap)


FAULTS = {
    "fp32": scale_loss,
    "lemore": scale_loss,
    "bf16": lambda patch: scale_loss(patch, "bf16"),
    "fp16": lambda patch: scale_loss(patch, "fp16"),
    "adamw": weaken_adamw,
    "micro-batches": lose_a_part,
    "average": lose_average,
    "guard": lose_guard,
    "distortion": lose_distortion,
    "loader": mix_up_batches,
    "resume": lose_momentum,
    "pretraining": scale_pretraining,
    "network": compute_wrongly,
    "evaluation": shift_labels,
    "tta": forget_mirroring,
    "slide": shift_windows,
    "predict": shift_prediction,
    "tiles": shift_tiles,
    "latency": stop_the_clock_early,
    "export": export_a_wrong_weight,
    "memory": leak,
    "speed": lose_speed,
}


def test_every_check_has_a_planted_fault():
    assert set(FAULTS) == set(TOGETHER)


@pytest.mark.slow
@pytest.mark.parametrize("name", TOGETHER)
def test_a_planted_fault_is_found(name, bench):
    """The check passes without the fault, and fails with it."""
    found = selftest.run(name, bench)
    assert found.result == "passed", found.describe()
    with pytest.MonkeyPatch.context() as patch:
        FAULTS[name](patch)
        found = selftest.run(name, bench)
    assert found.result == "failed", found.describe()


@pytest.mark.slow
def test_faults_of_compile_and_workers_are_found(bench, monkeypatch):
    """With stand-ins for the compiler and the cluster, whose real selves take minutes."""

    class Compiled(nn.Module):
        def __init__(self, network, factor):
            super().__init__()
            self.network, self.factor = network, factor

        def forward(self, *args, **kwargs):
            outputs, auxiliary = self.network(*args, **kwargs)
            return self.factor * outputs, auxiliary

    def take_share(share, work, resources, stop):  # 1/2: gradients are not averaged
        train = work.job.train
        train = replace(train, batch_size=int(train.batch_size * share))
        return finetune.train(replace(work.job, train=train), work.worker)

    for factor, share, result in ((1.0, 1, "passed"), (1.05, 0.5, "failed")):
        monkeypatch.setattr(torch, "compile", partial(Compiled, factor=factor))
        monkeypatch.setattr(trainings, "execute", partial(take_share, share))
        for name in ("compile", "workers"):
            found = selftest.run(name, bench)
            assert found.result == result, found.describe()


def test_the_command_writes_page_and_json_and_fails_with_a_check(tmp_path, monkeypatch, capsys):
    def passing(bench):
        """Does well."""
        return [Figure("gap", 0.5, 1.0), Figure("step", 3.0, unit=" ms")]

    def failing(bench):
        """Does too much."""
        return [Figure("gap", float("nan"), 1.0)]

    def raising(bench):
        """Meets <a fault>."""
        raise RuntimeError("CUDA error: <no kernel image>")

    def skipping(bench):
        """Needs another machine."""
        raise Skipped("needs two GPUs")

    checks = {"good": passing, "bad": failing, "broken": raising, "other": skipping}
    monkeypatch.setattr(selftest, "CHECKS", checks)
    monkeypatch.setattr(selftest, "SLOW", ("bad", "broken"))
    page = tmp_path / "new/page.html"
    options = selftest.SelftestOptions("cpu", False, 1, page)
    assert selftest.selftest(options) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["passed", "good"],
        ["failed", "bad"],
        ["failed", "broken"],
        ["skipped", "other"],
    ]
    assert "1 passed, 2 failed, 1 skipped" in lines[4]
    record = json.loads(page.with_suffix(".json").read_text())
    assert [check["result"] for check in record["checks"]] == [
        "passed",
        "failed",
        "failed",
        "skipped",
    ]
    assert record["versions"]["torch"] and record["device"] and record["kind"] == "cpu"
    html = page.read_text()
    assert "2 failed" in html and "&lt;no kernel image&gt;" in html and "needs two GPUs" in html
    assert selftest.selftest(replace(options, quick=True)) == 0
    with pytest.raises(ValueError, match=r"should end in \.html"):
        selftest.selftest(replace(options, output=tmp_path / "page.txt"))


def test_a_missing_gpu_is_told():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="a GPU is asked for"):
        choose_device("cuda")
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"


def test_a_figure_that_is_no_number_does_not_pass():
    outcome = run_check("x", lambda: [Figure("gap", float("nan"), 1.0)], "")
    assert outcome.result == "failed" and "gap nan (at most 1)" in outcome.describe()
