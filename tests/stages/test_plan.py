"""The planner: what is left to do, and numbers that are known from elsewhere."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import make_store

from lemore.cli import main
from lemore.config.dataset import DatasetConfig
from lemore.config.experiment import Experiment
from lemore.config.job_files import write_finetune_job, write_pretrain_job
from lemore.config.jobs import FinetuneJob, PretrainJob, read_job
from lemore.config.read import load
from lemore.data.store import Store
from lemore.stages.planning import plan
from lemore.stages.workers import costs
from tests.config.test_rerun_matrix import Checkout
from tests.own_folders import Own
from tests.small_coco import make_coco_store, make_detection_job


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
    """Two datasets with two models each and two with one; a second file is laid on the first, as
    Snakemake does."""
    (checkout.folder / "more.yaml").write_text("seeds: [0, 1, 2]\n")
    out = planned(checkout, monkeypatch, capsys, "more.yaml", "--calibrate", "0")
    assert out.startswith("run matrix: 6 finetune, 6 evaluate to do, and ")


def test_a_broken_configuration_is_told(checkout, monkeypatch, capsys):
    monkeypatch.chdir(checkout.folder)
    (checkout.folder / "broken.yaml").write_text("run: x\nseeds: [0]\n")
    assert main(["plan", "--configfile", "broken.yaml"]) == 2
    assert "missing key 'recipes'" in capsys.readouterr().err


def test_hours_are_those_of_all_steps_and_images():
    need = plan.Need("finetune", "d", "m", "0", 3600, 1, 7200, 16, 8)
    need.step, need.image = 2.0, 0.5
    assert need.hours == pytest.approx(2.0 + 1.0)


def test_it_counts_the_papers_parameters(tmp_path, monkeypatch):
    """1,599,862: LeMoRe at ADE20K's size (the paper prints 1.60 M)."""
    root = Path(__file__).parents[2]
    values = plan.merge_configuration([root / "config/paper.yaml"])
    experiment = Experiment(values, root)
    monkeypatch.chdir(tmp_path)
    job = read_job(FinetuneJob, Path(write_finetune_job(experiment, "ade20k", "lemore")))
    cost = costs.measure(costs.Subject(job, (512, 683), "cpu", 1, 0.1, None))
    assert isinstance(cost, costs.Cost), cost
    assert cost.parameters == 1_599_862
    assert cost.step > cost.image > 0
    assert cost.memory > 4 * 4 * cost.parameters  # weights, gradients, two moments
    assert json.dumps(vars(cost))


def paper() -> Experiment:
    root = Path(__file__).parents[2]
    return Experiment(plan.merge_configuration([root / "config/paper.yaml"]), root)


def test_the_step_that_is_timed_is_the_trainings_own(tmp_path, monkeypatch):
    """With its optimiser, guard and average, on photos augmented as the recipe says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    experiment, device = paper(), torch.device("cpu")
    tuned = load(FinetuneJob, write_finetune_job(experiment, "ade20k", "lemore"))
    loop, batch = costs.make_loop(tuned, device, 2, 1, tmp_path / "a")
    assert torch.backends.cudnn.benchmark and isinstance(loop.optimizer, torch.optim.AdamW)
    assert batch["image"].shape == (2, 3, 512, 512) and len(batch["distortion"]) == 2
    before = [p.detach().clone() for p in loop.model.parameters()]
    loop.step(batch, 0, 1e-3)
    changed = [not torch.equal(a, b) for a, b in zip(before, loop.model.parameters(), strict=True)]
    assert any(changed) and len(loop.finite.steps) == 1

    for backbone, optimizer, mixes in (("lemore", "RMSpropTF", False), ("mit_b0", "AdamW", True)):
        job = load(PretrainJob, write_pretrain_job(experiment, backbone))
        loop, batch = costs.make_loop(job, device, 2, 1, tmp_path / backbone)
        assert type(loop.optimizer).__name__ == optimizer and ("mixture" in batch) == mixes
        assert (loop.average is not None) == (job.recipe.ema > 0)
        assert loop.step(batch, 0, 1e-3).isfinite()


def test_loading_is_measured_on_prepared_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make_store(tmp_path / "tiny", "segmentation")
    job = load(FinetuneJob, write_finetune_job(paper(), "ade20k", "lemore"))
    small = replace(job.train, crop_size=(64, 64), img_scale=(112, 80))
    cost = costs.measure(costs.Subject(replace(job, train=small), None, "cpu", 1, 0.1, data))
    assert isinstance(cost, costs.Cost), cost
    assert 0 < cost.sample < cost.step


def test_images_are_counted_where_the_yaml_expects_no_number(tmp_path):
    """Those in the folder of an own dataset and, once they are prepared, those."""
    own = Own(tmp_path, names=tuple("abcde"))
    own.describe()
    dataset = load(DatasetConfig, own.config)
    experiment = SimpleNamespace(
        data_dir=tmp_path, archives_dir=tmp_path, dataset=lambda name: dataset
    )
    assert plan.count_images(experiment, "tiny", "val") == 0
    own.fill()
    assert plan.count_images(experiment, "tiny", "val") == 5
    folder = make_store(tmp_path / "tiny", "segmentation")
    assert plan.count_images(experiment, "tiny", "val") == len(Store(folder, "val")) != 5


def test_a_detectors_training_is_measured_on_boxes(tmp_path):
    job = make_detection_job("dots", 3)
    _, batch = costs.make_loop(job, torch.device("cpu"), 2, 1, tmp_path)
    assert batch["image"].shape == (2, 3, 128, 128) and batch["counts"].tolist() == [7, 7]
    data = make_coco_store(tmp_path / "data/dots")
    cost = costs.measure(costs.Subject(job, (48, 64), "cpu", 1, 0.1, data))
    assert isinstance(cost, costs.Cost), cost
    assert 0 < cost.sample < cost.step and cost.image > 0


def test_cores_that_load_for_a_gpu():
    """300 samples a second, each of which takes a core 10 ms."""
    need = plan.Need("finetune", "ade20k", "lemore", "0", 1000, 8, 0, 30, 2)
    need.step, need.sample = 0.1, 0.0099
    other = plan.Need("finetune", "camvid", "lemore", "0", 1000, 8, 0, 30, 2)
    other.step = 0.1
    first, last = plan.describe_loading([need, other])
    assert "each GPU takes 300 samples/s, which 3 core(s) load; loader_workers is 2" in first
    assert "before the data are prepared" in last
    need.loader_workers = 3
    assert "wait" not in next(iter(plan.describe_loading([need])))


@pytest.mark.slow
def test_what_cannot_be_measured_says_why(tmp_path, monkeypatch):
    root = Path(__file__).parents[2]
    experiment = Experiment(plan.merge_configuration([root / "config/paper.yaml"]), root)
    monkeypatch.chdir(tmp_path)
    job = read_job(FinetuneJob, Path(write_finetune_job(experiment, "ade20k", "lemore")))
    job = replace(job, train=replace(job.train, crop_size=(4096, 4096), batch_size=1024))
    cost = costs.measure(costs.Subject(job, None, "cpu", 1, 0.1, None))
    assert isinstance(cost, str) and cost
