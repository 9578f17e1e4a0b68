"""MLflow runs: continued, superseded, never duplicated, never left RUNNING."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from lemore.runtime.tracking import mlflow, tracked_run
from lemore.runtime.tracking.metrics_file import MetricsFile
from lemore.runtime.tracking.pending_run import RunDescription
from lemore.runtime.tracking.tracked_run import send_pending, track
from lemore.stages.summary import average_accuracy


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    old = dict(os.environ)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ["LEMORE_OUTBOX"] = str(folder / "outbox")
    before = tracked_run.SECONDS_BETWEEN_BATCHES, tracked_run.CLOSING_SECONDS
    tracked_run.SECONDS_BETWEEN_BATCHES, tracked_run.CLOSING_SECONDS = 0.05, 60.0
    yield folder
    tracked_run.SECONDS_BETWEEN_BATCHES, tracked_run.CLOSING_SECONDS = before
    os.environ.clear()
    os.environ.update(old)


def describe(experiment, key="k1", **values):
    return RunDescription(
        experiment=experiment,
        name="finetune tiny",
        identity={"stage": "finetune", "model": "tiny", "seed": "0"},
        key=key,
        params={"train": {"lr": 0.1}},
        **values,
    )


def runs(experiment):
    client = mlflow.connect()
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id])


def test_the_same_key_continues_and_another_supersedes():
    with track(describe("a")) as first:
        pass
    with track(describe("a")) as again:
        pass
    assert first.run_id == again.run_id
    with track(describe("a", key="k2")) as other:
        pass
    tags = {run.info.run_id: run.data.tags["superseded"] for run in runs("a")}
    assert tags == {first.run_id: "yes", other.run_id: "no"}
    assert {run.info.status for run in runs("a")} == {"FINISHED"}


def test_patterns_which_mlflow_takes_for_no_names_stay_in_one_parameter():
    groups = {r"backbone.*\.bn": {"lr_mult": 0.1}, "head": {"lr_mult": 1.0}}
    params = {"train": {"lr": 0.1, "groups": groups, "decode_head": {"width": 128}}}
    with track(replace(describe("patterns"), params=params)):
        pass
    (run,) = runs("patterns")
    expected = {"train.lr": "0.1", "train.groups": str(groups), "train.decode_head.width": "128"}
    assert run.data.params == expected


def test_metrics_arrive_once_and_in_order_over_a_resume(tmp_path):
    metrics_file = MetricsFile(tmp_path / "metrics.jsonl")
    with track(describe("b"), metrics_file) as run:
        for step in (10, 20):
            metrics_file.append(step, {"train/loss": 1.0 / step})
        metrics_file.append(20, {"val/mIoU": 0.2})
    metrics_file.rewind(10)  # the checkpoint was older
    with track(describe("b"), metrics_file) as run:
        for step in (20, 30):
            metrics_file.append(step, {"train/loss": 1.0 / step})
        metrics_file.append(20, {"val/mIoU": 0.2})
    client = mlflow.connect()
    history = client.get_metric_history(run.run_id, "train/loss")
    assert [(m.step, m.value) for m in history] == [(10, 0.1), (20, 0.05), (30, 1 / 30)]
    assert len(client.get_metric_history(run.run_id, "val/mIoU")) == 1


CAMVID = ("camvid", "0" * 64, "training")
WEIGHTS = "a1" * 32


def models(experiment):
    client = mlflow.connect()
    found = client.get_experiment_by_name(experiment)
    return client.search_logged_models([found.experiment_id])


def list_measured(model):
    return {(m.key, m.dataset_name, m.dataset_digest, m.step, m.value) for m in model.metrics}


def train(experiment, file, step):
    """A training whose rows are of iterations 10 and 20, and which keeps those of `step`."""
    metrics_file = MetricsFile(file)
    with track(describe(experiment, datasets=(CAMVID,)), metrics_file) as run:
        for done in (10, 20):
            metrics_file.append(done, {"train/loss": 1.0 / done, "train/lr": 0.1})
            metrics_file.append(done, {"val/mIoU": done / 100})
            metrics_file.append(done, {"system/cpu_utilization_percentage": 50.0})
        run.set_model(WEIGHTS, step, file.with_name("weights.pt"))
    return run.run_id


def test_the_weights_of_a_training_are_a_logged_model_with_their_step_and_measures(tmp_path):
    run_id = train("best", tmp_path / "metrics.jsonl", step=10)
    (model,) = models("best")
    assert model.source_run_id == run_id and model.status == "READY"
    assert model.name == "tiny-seed0" and model.params == {"lr": "0.1"}
    expected = {"stage": "finetune", "model": "tiny", "seed": "0", "key": "k1", "step": "10"}
    expected |= {"weights_sha256": WEIGHTS, "file": str(tmp_path / "weights.pt")}
    assert expected.items() <= model.tags.items()
    digest = "0" * 36  # as much of it as MLflow keeps, as of the run's dataset
    assert list_measured(model) == {
        ("train/loss", "camvid", digest, 10, 0.1),
        ("val/mIoU", "camvid", digest, 10, 0.1),
    }
    run = mlflow.connect().get_run(run_id)
    assert run.inputs.dataset_inputs[0].dataset.digest == digest
    assert [(o.model_id, o.step) for o in run.outputs.model_outputs] == [(model.model_id, 10)]


def test_a_training_repeated_adds_neither_a_model_nor_a_measure(tmp_path):
    first = train("again", tmp_path / "metrics.jsonl", step=20)
    (before,) = models("again")
    (tmp_path / "metrics.jsonl").unlink()
    assert train("again", tmp_path / "metrics.jsonl", step=20) == first
    (after,) = models("again")
    assert after.model_id == before.model_id
    assert len(after.metrics) == len(before.metrics) == 2
    client = mlflow.connect()
    assert len(client.get_run(first).outputs.model_outputs) == 1
    for name in client.get_run(first).data.metrics:
        assert [m.step for m in client.get_metric_history(first, name)] == [10, 20]


def test_evaluations_belong_to_the_model_by_dataset(tmp_path):
    trained = train("split", tmp_path / "metrics.jsonl", step=20)
    other = train("same weights, another run", tmp_path / "other.jsonl", step=20)
    for name, miou in (("camvid", 0.5), ("night", 0.25)):
        description = replace(
            describe(f"split {name}", measures=True, model=WEIGHTS),
            identity={"stage": "evaluate", "dataset": name},
            parents={"finetune": trained},
            datasets=((name, "f" * 64, "test"),),
        )
        with track(description) as run:
            run.record_metrics({"test/mIoU": miou, "test/IoU/road": 0.75})
        (found,) = runs(f"split {name}")
        assert found.data.metrics == {"test/mIoU": miou, "test/IoU/road": 0.75}
        (model,) = models("split")
        inputs = mlflow.connect().get_run(run.run_id).inputs.model_inputs
        assert [given.model_id for given in inputs] == [model.model_id]
    assert {m for m in list_measured(model) if m[0] == "test/mIoU"} == {
        ("test/mIoU", "camvid", "f" * 36, 0, 0.5),
        ("test/mIoU", "night", "f" * 36, 0, 0.25),
    }
    assert not [m for m in model.metrics if "IoU/" in m.key], "150 classes would hide the rest"
    assert trained != other
    (untouched,) = models("same weights, another run")
    assert len(untouched.metrics) == 2


def test_what_is_measured_of_weights_that_the_store_does_not_know_has_no_model():
    with track(describe("alone", measures=True, model="b2" * 32)) as run:
        run.record_metrics({"test/mIoU": 0.5})
    found = mlflow.connect().get_run(run.run_id)
    assert found.data.metrics == {"test/mIoU": 0.5} and not found.inputs.model_inputs


def measured(experiment, miou):
    with track(describe(experiment, measures=True)) as run:
        run.record_metrics({"val/mIoU": miou, "val/IoU/a (b)": 0.5})
        assert run.run_id
    return run.run_id


def test_measured_again_with_other_numbers_is_a_new_run():
    """So that the youngest run has the numbers of the report."""
    first, same, other = measured("m", 0.25), measured("m", 0.25), measured("m", 0.125)
    again = measured("m", 0.25)
    assert first == same and len({first, other, again}) == 3
    found = {run.info.run_id: run.data for run in runs("m")}
    assert {i: data.metrics["val/mIoU"] for i, data in found.items()} == {
        first: 0.25, other: 0.125, again: 0.25,
    }  # fmt: skip
    assert found[first].tags["superseded_by"] == again == found[other].tags["superseded_by"]
    assert "superseded_by" not in found[again].tags
    assert {i: data.tags["superseded"] for i, data in found.items()} == {
        first: "yes", other: "yes", again: "no",
    }  # fmt: skip
    assert {run.info.status for run in runs("m")} == {"FINISHED"}


def test_a_measurement_that_fails_leaves_the_earlier_numbers_alone():
    first = measured("n", 0.25)
    with pytest.raises(RuntimeError), track(describe("n", measures=True)):
        raise RuntimeError
    (only,) = runs("n")
    assert (only.info.run_id, only.info.status) == (first, "FINISHED")
    assert only.data.tags["superseded"] == "no" and send_pending() == (0, 0)
    assert measured("n", 0.25) == first


def test_the_summary_has_the_mean_over_the_seeds():
    seeds = [{"dataset": "d", "model": "m", "miou": miou} for miou in (0.25, 0.75)]
    other = {"dataset": "d", "model": "n", "miou": 0.125}
    assert average_accuracy([*seeds, other]) == {"d/m/mIoU": 0.5, "d/n/mIoU": 0.125}


def test_status_tells_how_a_run_ended():
    for experiment, error, status in (
        ("c", RuntimeError, "FAILED"),
        ("d", KeyboardInterrupt, "KILLED"),
        ("e", SystemExit, "KILLED"),
    ):
        with pytest.raises(error), track(describe(experiment)):
            raise error
        send_pending()  # of an interrupted one the store may hear later only
        assert [run.info.status for run in runs(experiment)] == [status]


def test_a_run_whose_process_was_killed_does_not_stay_running():
    code = (
        "import os\n"
        "from tests.runtime.test_tracking import describe, track\n"
        "with track(describe('f')) as run: run.run_id and os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    assert done.returncode == -9
    assert [run.info.status for run in runs("f")] == ["RUNNING"]
    with track(describe("g")) as alive:  # must be left alone
        assert alive.run_id
        sent, left = send_pending()
        assert sent <= 1 and left == 0  # that one's own thread may have been first
        assert [run.info.status for run in runs("g")] == ["RUNNING"]
    assert [run.info.status for run in runs("f")] == ["KILLED"]


def test_links_lead_to_the_parents():
    with track(describe("h")) as parent:
        pass
    child = describe("i", parents={"finetune": parent.run_id}, datasets=(("scenes", "abc", "val"),))
    with track(child) as run:
        pass
    found = mlflow.connect().get_run(run.run_id)
    assert found.data.tags["finetune_run_id"] == parent.run_id
    assert f"/runs/{parent.run_id})" in found.data.tags["mlflow.note.content"]
    for unknown in ("b07de21decba4f59b9f8f2f2bdbbb8a7", "no id of MLflow's"):
        with track(describe(unknown[:3], parents={"finetune": unknown})) as other:
            pass
        tags = mlflow.connect().get_run(other.run_id).data.tags
        assert "finetune_run_id" not in tags and unknown not in tags["mlflow.note.content"]
    assert found.inputs.dataset_inputs[0].dataset.digest == "abc"
    assert found.data.params == {"train.lr": "0.1"}


@pytest.mark.slow
def test_many_at_once_on_a_store_that_does_not_exist_yet(tmp_path):
    code = (
        "from tests.runtime.test_tracking import describe, track\n"
        "s = describe('x', datasets=(('scenes', 'abc', 'train'),))\n"
        "with track(s) as run: print('run', run.run_id)"
    )
    env = os.environ | {
        "PYTHONPATH": os.getcwd(),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'new.db'}",
    }
    command = [sys.executable, "-c", code]
    started = [
        subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0 and len(out.split()) == 2, err
        assert "WARNING" not in err, err


def test_a_store_that_is_gone_costs_a_warning_only(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("LEMORE_OUTBOX", str(tmp_path / "outbox"))
    with track(describe("j")) as run:
        run.record_metrics({"x": 1.0})
    assert run.run_id == ""
    assert "http://127.0.0.1:9 cannot be used now" in caplog.text
    (left,) = (tmp_path / "outbox").iterdir()
    assert "secret" not in caplog.text + left.read_text()
    assert str(left) in caplog.text
