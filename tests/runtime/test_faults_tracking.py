"""Fault 16 of docs/faults.md: the tracking store is away, slow or locked.

The store here is SQLite behind a client that fails on demand; the slow test has a real
server that is killed and started again.
"""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import Tiny
from fault_training import GO, lemore, start
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

from lemore.cli import main
from lemore.runtime.files import read_json
from lemore.runtime.tracking import mlflow, tracked_run
from lemore.runtime.tracking.metrics_file import MetricsFile
from lemore.runtime.tracking.pending_run import RunDescription, list_pending
from lemore.runtime.tracking.tracked_run import send_pending, track


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("LEMORE_OUTBOX", str(tmp_path / "outbox"))
    monkeypatch.setattr(tracked_run, "SECONDS_BETWEEN_BATCHES", 0.05)
    monkeypatch.setattr(tracked_run, "MOST_SECONDS_BETWEEN_TRIES", 0.2)
    monkeypatch.setattr(tracked_run, "CLOSING_SECONDS", 60.0)
    return Store(monkeypatch)


class Store:
    """The real store, with a switch."""

    def __init__(self, monkeypatch):
        self.down, self.answers_get_lost, self.is_old = False, False, False
        real = self.connect = mlflow.connect
        monkeypatch.setattr(mlflow, "connect", lambda: Client(real(), self))

    def runs(self, name: str) -> list:
        client = self.connect()
        found = client.get_experiment_by_name(name)
        return client.search_runs([found.experiment_id]) if found else []

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        return [(m.step, m.value) for m in self.connect().get_metric_history(run_id, metric)]


class Client:
    """A client whose calls fail while the store is down, or whose answers get lost."""

    def __init__(self, client, store: Store):
        self.client, self.store = client, store

    def __getattr__(self, name):
        method = getattr(self.client, name)

        def call(*args, **kwargs):
            if self.store.down:
                raise ConnectionError("no route to store")
            if self.store.is_old and "logged_model" in name:
                raise MlflowException("not found", ENDPOINT_NOT_FOUND)
            result = method(*args, **kwargs)
            if self.store.answers_get_lost and name == "log_batch":
                self.store.answers_get_lost = False
                raise TimeoutError("the answer did not come")
            return result

        return call


def describe(name: str, key: str = "k", **changes) -> RunDescription:
    identity = {"stage": "finetune", "model": name, "seed": "0"}
    return RunDescription(name, f"finetune {name}", identity, key, {"lr": 0.1}, **changes)


def wait(condition) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


EXPECTED = [(step, step / 10) for step in range(1, 41)]


def write(metrics_file: MetricsFile, steps: range) -> None:
    for step in steps:
        metrics_file.append(step, {"train/loss": step / 10})


def test_a_store_that_is_away_at_the_start_gets_all_when_it_comes(store, tmp_path):
    metrics_file = MetricsFile(tmp_path / "metrics.jsonl")
    store.down = True
    with track(describe("a"), metrics_file) as run:
        write(metrics_file, range(1, 21))
        time.sleep(0.3)
        assert run.id == ""
        store.down = False
        wait(lambda: run.id)
        write(metrics_file, range(21, 41))
    (found,) = store.runs("a")
    assert found.info.status == "FINISHED"
    assert store.history(run.run_id, "train/loss") == EXPECTED
    assert not (tmp_path / "outbox").exists()


def test_numbers_measured_again_while_the_store_is_away_come_with_a_run(store, tmp_path):
    def measure(value: float, back: bool = True) -> str:
        with track(describe("a2", measures=True)) as run:
            if store.down:
                wait(run.tried.is_set)
                store.down = not back
                wait(lambda: store.down or not run.tried.is_set())
            run.record_metrics({"val/mIoU": value})
            return run.run_id

    first = measure(0.25)
    store.down = True
    late = measure(0.125)
    assert first and late and first != late
    store.down = True
    assert measure(0.75, back=False) == ""  # waits, and is told though the next one fails
    (file,) = (tmp_path / "outbox").glob("*.json")
    file.rename(file.with_stem(file.stem + "1"))  # of another process
    store.down = False
    with pytest.raises(ValueError), track(describe("a2", measures=True)):
        wait(lambda: len(store.runs("a2")) == 3)
        raise ValueError
    assert [store.history(r.info.run_id, "val/mIoU")[0][1] for r in store.runs("a2")] == [
        *(0.75, 0.125, 0.25)
    ]
    assert [r.data.tags["superseded"] for r in store.runs("a2")] == ["no", "yes", "yes"]


def test_a_store_that_goes_away_meanwhile_misses_and_doubles_nothing(store, tmp_path):
    metrics_file = MetricsFile(tmp_path / "metrics.jsonl")
    with track(describe("b"), metrics_file) as run:
        write(metrics_file, range(1, 11))
        wait(lambda: run.id and len(store.history(run.id, "train/loss")) == 10)
        store.down = True
        write(metrics_file, range(11, 21))
        time.sleep(0.3)
        store.down, store.answers_get_lost = False, True  # it took the rows, nobody knows
        write(metrics_file, range(21, 31))
        wait(lambda: not store.answers_get_lost)
        write(metrics_file, range(31, 41))
    assert store.history(run.run_id, "train/loss") == EXPECTED
    assert len(store.runs("b")) == 1


def test_what_came_too_late_is_sent_by_the_next_job(store, tmp_path):
    metrics_file, result = MetricsFile(tmp_path / "metrics.jsonl"), tmp_path / "result.json"
    result.write_text("{}")
    store.down = True
    with track(describe("c"), metrics_file) as run:
        write(metrics_file, range(1, 41))
        run.record_metrics({"val/mIoU": 0.5}, step=40)
        run.set_tag("weights_sha256", "abc")
        run.add_artifact(result)
    metrics_file.path.unlink()  # the results have been moved
    assert run.run_id == "" and len(list_pending()) == 1
    store.down = False
    with track(describe("d", parents={"finetune": "weights:abc"})) as later:
        wait(lambda: later.id and not [p for p in list_pending() if p != later.pending.path])
    (found,) = store.runs("c")
    assert store.runs("d")[0].data.tags.get("finetune_run_id", "") in ("", found.info.run_id)
    assert found.info.status == "FINISHED" and found.data.tags["weights_sha256"] == "abc"
    assert found.info.end_time < later.pending.begun
    assert store.history(found.info.run_id, "train/loss") == EXPECTED
    assert store.history(found.info.run_id, "val/mIoU") == [(40, 0.5)]
    assert [a.path for a in store.connect().list_artifacts(found.info.run_id)] == ["result.json"]
    assert not (tmp_path / "outbox").exists()


def test_sync_sends_and_says_what_stays(store, tmp_path, monkeypatch, capsys):
    store.down = True
    for name in ("e", "f"):
        with track(describe(name)) as run:
            run.record_metrics({"x": 1.0})
    assert main(["sync"]) == 1 and capsys.readouterr().out == "0 delivered, 2 left\n"
    here = os.environ["MLFLOW_TRACKING_URI"]
    store.down = False
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    assert main(["sync"]) == 1
    assert not (tmp_path / "other.db").exists(), "it is not for that store"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", here)
    assert main(["sync"]) == 0 and "2 delivered, 0 left" in capsys.readouterr().out
    assert main(["sync"]) == 0 and "0 delivered, 0 left" in capsys.readouterr().out
    assert [len(store.history(r.info.run_id, "x")) for n in "ef" for r in store.runs(n)] == [1, 1]


def test_sending_twice_changes_nothing(store, tmp_path):
    store.down = True
    with track(describe("g")) as run:
        run.record_metrics({"x": 1.0}, step=3)
    store.down = False
    (path,) = list_pending()
    content = path.read_bytes()
    for _ in range(2):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        assert send_pending() == (1, 0)
    (found,) = store.runs("g")
    assert store.history(found.info.run_id, "x") == [(3, 1.0)]


def test_a_logged_model_that_came_too_late_is_sent_once(store, tmp_path):
    store.down = True
    with track(describe("n", datasets=(("camvid", "abc", "training"),))) as run:
        run.record_metrics({"train/loss": 1.0}, step=3)
        run.set_model("a1" * 32, 3, tmp_path / "weights.pt")
    store.down = False
    (path,) = list_pending()
    content = path.read_bytes()
    for _ in range(2):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        assert send_pending() == (1, 0)
    (found,) = store.runs("n")
    (model,) = store.connect().search_logged_models([found.info.experiment_id])
    assert [(m.key, m.step, m.dataset_name) for m in model.metrics] == [("train/loss", 3, "camvid")]
    assert store.history(found.info.run_id, "train/loss") == [(3, 1.0)]


def test_a_server_without_logged_models_gets_all_else(store, tmp_path):
    store.is_old = True
    with track(describe("o")) as run:
        run.record_metrics({"train/loss": 1.0}, step=3)
        run.set_model("a1" * 32, 3, tmp_path / "weights.pt")
    with track(describe("p", measures=True, model="a1" * 32)) as measured:
        measured.record_metrics({"val/mIoU": 0.5})
    for name, metrics in (("o", {"train/loss": 1.0}), ("p", {"val/mIoU": 0.5})):
        (found,) = store.runs(name)
        assert (found.info.status, found.data.metrics) == ("FINISHED", metrics)
    assert not list_pending()


def test_a_measurement_sent_twice_is_one_run(store, tmp_path):
    store.down = True
    with track(describe("m", measures=True)) as run:
        run.record_metrics({"x": 1.0})
    store.down = False
    (path,) = list_pending()
    content = path.read_bytes()
    assert send_pending() == (1, 0)
    time.sleep(0.01)
    with track(describe("m", measures=True)) as run:
        run.record_metrics({"x": 2.0})
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert send_pending() == (1, 0)
    states = {r.data.metrics["x"]: r.data.tags["superseded"] for r in store.runs("m")}
    assert states == {1.0: "yes", 2.0: "no"} and len(store.runs("m")) == 2


def test_a_late_run_does_not_supersede_a_later_one(store):
    store.down = True
    with track(describe("h", key="old")):
        pass
    time.sleep(0.01)
    store.down = False
    with track(describe("h", key="new")):
        wait(lambda: len(store.runs("h")) == 2)
    tags = {r.data.tags["lemore.key"]: r.data.tags["superseded"] for r in store.runs("h")}
    assert tags == {"old": "yes", "new": "no"}


def test_a_locked_database_holds_up_nothing_and_gets_all_later(store, tmp_path):
    metrics_file = MetricsFile(tmp_path / "metrics.jsonl")
    with track(describe("i"), metrics_file) as run:
        wait(lambda: run.id)
        other = sqlite3.connect(tmp_path / "mlflow.db", check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        begin = time.monotonic()
        write(metrics_file, range(1, 41))
        run.record_metrics({"val/mIoU": 0.5}, step=40)
        assert time.monotonic() - begin < 5, "it waited for the store"
        threading.Timer(8, other.rollback).start()
    assert store.history(run.run_id, "train/loss") == EXPECTED
    assert store.history(run.run_id, "val/mIoU") == [(40, 0.5)]


def test_a_server_that_never_answers_holds_up_nothing(store, monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setattr(tracked_run, "CLOSING_SECONDS", 0.5)
        begin = time.monotonic()
        with track(describe("j")) as run:
            run.record_metrics({"x": 1.0})
        assert time.monotonic() - begin < 8
        assert len(list_pending()) == 1


def test_without_a_folder_for_pending_runs_the_work_goes_on(store, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LEMORE_OUTBOX", str(tmp_path / "file/outbox"))
    with track(describe("k")) as run:
        run.record_metrics({"x": 1.0})
    assert str(tmp_path / "file") in caplog.text
    assert store.history(run.run_id, "x") == [(0, 1.0)]


@pytest.mark.parametrize(
    ("down", "instead"), [(False, "nothing"), (True, "nothing"), (True, "file")]
)
def test_a_folder_that_vanishes_meanwhile_harms_nobody(store, tmp_path, caplog, down, instead):
    """It is made again where that can be done; the work goes on in any case."""
    store.down = down
    with track(describe("m")) as run:
        assert run.run_id or down  # it has looked into the folder
        run.record_metrics({"x": 1.0})
        shutil.rmtree(tmp_path / "outbox")
        if instead == "file":
            (tmp_path / "outbox").write_text("")
    if instead == "file":
        assert f"{tmp_path}/outbox" in caplog.text and "its rest is lost" in caplog.text
        return
    if down:
        store.down = False
        assert send_pending() == (1, 0)
    (found,) = store.runs("m")
    assert found.info.status == "FINISHED" and store.history(found.info.run_id, "x") == [(0, 1.0)]


def test_a_spoilt_file_does_not_stop_the_others(store, tmp_path, caplog):
    store.down = True
    with track(describe("l")):
        pass
    store.down = False
    (tmp_path / "outbox/0000-1-1.json").write_text("{")
    assert send_pending() == (1, 1)
    assert "0000-1-1.json stays (" in caplog.text


def test_new_rows_are_read_once_and_all_of_them_after_a_rewind(tmp_path):
    metrics_file, reader = (MetricsFile(tmp_path / "metrics.jsonl") for _ in range(2))
    assert reader.read_new() == []
    write(metrics_file, range(1, 4))
    assert [row["step"] for row in reader.read_new()] == [1, 2, 3] and reader.read_new() == []
    with open(metrics_file.path, "a") as file:
        file.write('{"step": 4, "ti')
    assert reader.read_new() == []
    metrics_file.rewind(2)
    write(metrics_file, range(3, 5))
    assert [row["step"] for row in reader.read_new()] == [1, 2, 3, 4]


# --- a real server


class Server:
    """`mlflow server` on a port of its own."""

    def __init__(self, folder: Path):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.folder, self.address = folder, f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait(self.answers)

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        os.killpg(self.process.pid, 9)
        self.process.wait()
        wait(lambda: not self.answers())


def log_of(folder: Path) -> str:
    return (folder / "log").read_text() if (folder / "log").exists() else ""


def runs_of(client) -> list:
    found = client.get_experiment_by_name("test/tiny")
    return client.search_runs([found.experiment_id]) if found else []


def history(client) -> list[int]:
    """Steps whose loss the server knows of the one training."""
    told = [client.get_metric_history(run.info.run_id, "train/loss") for run in runs_of(client)]
    return [metric.step for metrics in told for metric in metrics]


@pytest.mark.slow
def test_a_training_with_a_server_that_comes_and_goes(tmp_path):
    """It begins without a server, and cannot end before the server is gone again."""
    tiny, server = Tiny(tmp_path), Server(tmp_path)
    config = tiny.finetune_job(iterations=40, validate_every=0, checkpoint_every=20)
    command = [*map(str, tiny.finetune_command(config, tmp_path / "out/served"))]
    env = {"MLFLOW_TRACKING_URI": server.address}
    training = start(lemore, tmp_path, command, "held_late", **env)
    wait(lambda: "held" in log_of(tmp_path))
    server.start()
    client = mlflow.MlflowClient(server.address)
    wait(lambda: history(client) == [10, 20])
    server.kill()
    (tmp_path / GO).touch()
    training.join(300)
    assert training.exitcode == 0, log_of(tmp_path)
    assert len(list((tmp_path / "mlflow_outbox").glob("*.json"))) == 1
    server.start()
    try:
        done = tiny.lemore("sync", **env)
        assert done.stdout == "1 delivered, 0 left\n"
        (run,) = runs_of(client)
        assert run.info.status == "FINISHED" and history(client) == [10, 20, 30, 40]
        assert read_json(tmp_path / "out/served/run.json")["iterations"] == 40
    finally:
        server.kill()
