"""What a job says of the cluster at RAY_ADDRESS, and what that cluster's workers get."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import ray
import torch.distributed as dist
from ray._private import services
from ray.exceptions import ActorDiedError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import WorkerGroupError

from lemore.runtime.ray import cluster, execute
from lemore.runtime.ray.cluster import Resources
from lemore.runtime.tracking.pending_run import find_store_file, make_absolute
from lemore.runtime.worker import Worker

ONE = Resources("local", 1, 1, 0)


class Stop:
    """Nobody asks the training to stop."""

    def install(self) -> None: ...

    def __call__(self) -> int:
        return 0


@pytest.fixture
def address(monkeypatch):
    """A port that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", found)
        yield found


def test_a_machine_outside_the_cluster_is_told_in_one_line(monkeypatch, address):
    monkeypatch.setattr(services, "find_node_ids", lambda: [])

    def init(**options):
        services.get_node_to_connect_for_driver(None, timeout_seconds=0.1)

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ValueError, match=f"'{address}', and this machine is no node") as told:
        cluster.connect(ONE)
    assert "\n" not in str(told.value) and f"ray start --address {address}" in str(told.value)


def test_the_nodes_of_an_allocation_are_waited_for(monkeypatch):
    gone, here = ({"Alive": alive, "Resources": {"GPU": 4.0}} for alive in (False, True))
    seen = iter([[here, gone], [here, gone], [here, here, gone], [here, here, here]])
    monkeypatch.setattr(ray, "nodes", lambda: next(seen))
    assert cluster.list_nodes(2) == [{"GPU": 4.0}] * 2
    monkeypatch.setattr(ray, "nodes", lambda: [here])
    assert cluster.list_nodes(2, seconds=0.1) == [{"GPU": 4.0}]


def test_another_error_of_ray_stays_what_it_is(monkeypatch, address):
    def init(**options):
        raise RuntimeError("Version mismatch")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RuntimeError, match="Version mismatch"):
        cluster.connect(ONE)


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (None, "sqlite:///{here}/mlflow.db"),
        ("sqlite:///runs.db", "sqlite:///{here}/runs.db"),
        ("sqlite:////data/runs.db", "sqlite:////data/runs.db"),
        ("./mlruns", "{here}/mlruns"),
        ("http://tracking:5000", "http://tracking:5000"),
    ],
)
def test_workers_write_to_the_same_store(monkeypatch, tmp_path, address, given, passed):
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if given:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    monkeypatch.setattr(ray, "init", lambda **options: asked.append(options))
    monkeypatch.setattr(ray, "nodes", lambda: [])
    cluster.connect(ONE)
    (options,) = asked
    found = options["runtime_env"]["env_vars"]["MLFLOW_TRACKING_URI"]
    assert found == passed.format(here=Path.cwd())


def test_a_store_on_a_server_has_no_file():
    assert find_store_file("http://tracking:5000") is None
    assert find_store_file("postgresql://user@host/db") is None
    assert find_store_file("file:///data/mlruns") == Path("/data/mlruns")
    assert make_absolute("databricks://x") == "databricks://x"


@pytest.mark.parametrize(("run", "told"), [("a run", True), ("", False)])
def test_a_node_without_the_store_refuses_to_log_a_model(monkeypatch, tmp_path, run, told):
    """Unless nothing is written there."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    (tmp_path / "digest.json").touch()
    (tmp_path / "driver").touch()
    work = execute.Work("", None, Worker(tmp_path, tmp_path, 0, model_run_id=run))
    if not told:
        execute._check_shared(work)
        return
    with pytest.raises(ValueError, match=f"does not see the tracking store {tmp_path}/elsewhere"):
        execute._check_shared(work)


CLOSED = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]:1"
LOST = [
    RuntimeError(CLOSED),
    dist.DistBackendError("NCCL communicator was aborted on rank 1."),
    ConnectionResetError("Connection reset by peer"),
    WorkerHealthCheckFailedError("a health check failed", RuntimeError("killed")),
    ActorDiedError(),
]
OWN = [
    RuntimeError("Expected to have finished reduction in the prior iteration"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("batch_size is 3"),
    OSError("sample 3 is broken"),
    FloatingPointError("not finite"),
]


@pytest.mark.parametrize("lost", LOST, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("own", OWN, ids=str)
def test_a_workers_own_error_ends_the_training_and_a_lost_worker_does_not(own, lost):
    assert execute.find_cause(WorkerGroupError("", {0: lost, 1: own})) is own
    assert execute.find_cause(WorkerGroupError("", {0: own, 1: own})) is own
    found = execute.find_cause(WorkerGroupError("", {0: lost, 1: lost}))
    assert isinstance(found, execute.WorkerLost)


def test_it_is_told_once(monkeypatch, tmp_path):
    """Not tried again, as a training is that has lost its worker."""
    tries = []

    def fail(work, resources, stop):
        tries.append(work)
        raise execute.find_cause(WorkerGroupError("", {0: OWN[0], 1: LOST[0]}))

    monkeypatch.setattr(cluster, "connect", lambda resources: resources)
    monkeypatch.setattr(execute, "run_workers", fail)
    work = execute.Work("", None, Worker(tmp_path, tmp_path, 0))
    with pytest.raises(RuntimeError, match="finished reduction"):
        execute.execute(work, Resources("local", 2, 1, 0), Stop())
    assert len(tries) == 1


MISTAKEN = """
import sys
from pathlib import Path

from lemore.runtime.ray import execute
from lemore.runtime.ray.cluster import Resources
from lemore.runtime.worker import Worker


def train(job, worker):
    import torch

    with open(worker.folder / "tries", "a") as file:
        file.write(f"{worker.rank}\\n")
    if worker.rank == 1:
        raise RuntimeError("shapes differ")
    torch.distributed.all_reduce(torch.zeros(1))  # waits for the other worker's gradient


class Stop:
    def install(self): ...

    def __call__(self):
        return 0


if __name__ == "__main__":
    worker = Worker(Path.cwd(), Path.cwd(), 0)
    execute.execute(
        execute.Work("mistaken:train", None, worker), Resources("local", 2, 1, 0), Stop()
    )
"""


@pytest.mark.slow
def test_two_workers_of_ray_tell_a_mistake_once(tmp_path):
    (tmp_path / "digest.json").touch()
    (tmp_path / "mistaken.py").write_text(MISTAKEN)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "mistaken.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{root}:{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1
    assert re.search(r"^RuntimeError: shapes differ$", done.stderr, re.M), done.stderr
    assert sorted((tmp_path / "tries").read_text().split()) == ["0", "1"]
