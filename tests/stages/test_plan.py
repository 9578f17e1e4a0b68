"""The planner: what is left to do, and numbers that are known from elsewhere."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lemore.cli import main
from lemore.config.experiment import Experiment
from lemore.config.job_files import write_finetune_job
from lemore.config.jobs import FinetuneJob, read_job
from lemore.stages import plan
from lemore.stages.workers import costs
from tests.config.test_rerun_matrix import Checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("checkout"))


def planned(checkout: Checkout, monkeypatch, capsys, *options: str) -> str:
    monkeypatch.chdir(checkout.folder)
    assert main(["plan", "--configfile", "matrix.yaml", *options]) == 0
    return capsys.readouterr().out


def test_what_is_done_is_left_out(checkout, monkeypatch, capsys):
    out = planned(checkout, monkeypatch, capsys, "--calibrate", "0")
    assert out == "run matrix: nothing to do, and 0 jobs of reporting\n"


def test_what_one_more_seed_costs(checkout, monkeypatch, capsys):
    """Two datasets with two models each and one with one; a second file is laid on the first, as
    Snakemake does."""
    (checkout.folder / "more.yaml").write_text("seeds: [0, 1, 2]\n")
    out = planned(checkout, monkeypatch, capsys, "more.yaml", "--calibrate", "0")
    assert out.startswith("run matrix: 5 finetune, 5 evaluate to do, and ")


def test_a_broken_configuration_is_told(checkout, monkeypatch, capsys):
    monkeypatch.chdir(checkout.folder)
    (checkout.folder / "broken.yaml").write_text("run: x\nseeds: [0]\n")
    assert main(["plan", "--configfile", "broken.yaml"]) == 2
    assert "missing key 'recipes'" in capsys.readouterr().err


def test_hours_are_those_of_all_steps_and_images():
    need = plan.Need("finetune", "d", "m", "0", iterations=3600, threads=1, images=7200)
    need.step, need.image = 2.0, 0.5
    assert need.hours == pytest.approx(2.0 + 1.0)


def test_it_counts_the_papers_parameters(tmp_path, monkeypatch):
    """1,599,862: LeMoRe at ADE20K's size (the paper prints 1.60 M)."""
    root = Path(__file__).parents[2]
    values = plan.merge_configuration([root / "config/paper.yaml"])
    experiment = Experiment(values, root)
    monkeypatch.chdir(tmp_path)
    job = read_job(FinetuneJob, Path(write_finetune_job(experiment, "ade20k", "lemore")))
    cost = costs.measure(costs.Subject(job, (512, 683), "cpu", 1, 0.1))
    assert isinstance(cost, costs.Cost), cost
    assert cost.parameters == 1_599_862
    assert cost.step > cost.image > 0
    assert cost.memory > 4 * 4 * cost.parameters  # weights, gradients, two moments
    assert json.dumps(vars(cost))


@pytest.mark.slow
def test_what_cannot_be_measured_says_why(tmp_path, monkeypatch):
    root = Path(__file__).parents[2]
    experiment = Experiment(plan.merge_configuration([root / "config/paper.yaml"]), root)
    monkeypatch.chdir(tmp_path)
    job = read_job(FinetuneJob, Path(write_finetune_job(experiment, "ade20k", "lemore")))
    job = replace(job, train=replace(job.train, crop_size=(4096, 4096), batch_size=1024))
    cost = costs.measure(costs.Subject(job, None, "cpu", 1, 0.1))
    assert isinstance(cost, str) and cost
