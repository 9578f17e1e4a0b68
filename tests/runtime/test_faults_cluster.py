"""Faults 7, 8, 15, 17 and 21 of docs/faults.md, on several Ray nodes on this machine.

The nodes are started elsewhere and cannot import lemore: its code reaches them with the job.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import Tiny

from lemore.runtime.files import read_json
from lemore.runtime.process import Process
from lemore.runtime.ray import execute
from lemore.runtime.tracking.metrics_file import MetricsFile

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
# Takes the editable installation, which is a checkout's folder, off the path of a cluster's
# processes, and leaves the copy that came with a job.
HIDE = """
import os, sys
sys.path[:] = [p for p in sys.path if not os.path.exists(p + "/lemore/../pyproject.toml")]
"""
# Every step takes a moment, so that none of these trainings ends before it is disturbed.
PACED = """

import time

_plain_loss = compute_segmentation_loss


def compute_segmentation_loss(*args, **kwargs):
    time.sleep(0.1)
    return _plain_loss(*args, **kwargs)
"""
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef"}


def paced(folder: Path) -> Path:
    """A copy of the project, from which trainings take their time."""
    for name in ("Snakefile", "pyproject.toml", "config", "lemore", "workflow"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    with open(folder / "lemore/training/losses.py", "a") as file:
        file.write(PACED)
    return folder


class Nodes:
    """A cluster in a process of its own."""

    def __init__(self, folder: Path, cores: int, prefix: tuple[str, ...] = ()):
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(HIDE)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(ROOT / "tests/ray_nodes.py"), str(cores)],
            cwd=folder,
            env=clean | TOKEN | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(folder / "log", "w"),  # noqa: SIM115
            text=True,
            start_new_session=True,
        )
        self.env = TOKEN | {"RAY_ADDRESS": self._answer()}

    def tell(self, command: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if not line.startswith(("20", "[")):  # Ray's own words
                return line.strip()
        raise AssertionError("the nodes have ended")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


@pytest.fixture
def nodes(tmp_path) -> Iterator[Nodes]:
    """A head with two cores."""
    made = Nodes(tmp_path / "elsewhere", 2)
    yield made
    made.close()


def slice_of(tiny: Tiny, **changes: object) -> Path:
    return tiny.finetune_job(checkpoint_every=5, validate_every=0, threads=1, **changes)


class Training:
    """A paced training in the background, through the cluster that `env` names."""

    def __init__(self, tiny: Tiny, name: str, *options: object, **env: str):
        code = tiny.folder / "paced"
        if not code.exists():
            code.mkdir()
            paced(code)
        self.output = tiny.folder / "out" / name
        command = tiny.finetune_command(slice_of(tiny), self.output)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
        clean["MLFLOW_TRACKING_URI"] = f"sqlite:///{tiny.folder / 'mlflow.db'}"
        self.log = tiny.folder / f"{name}.log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lemore.cli", *map(str, [*command, "--ray", "local", *options])],
            cwd=tiny.folder,
            env=clean | {"PYTHONPATH": str(code)} | env,
            stdout=subprocess.DEVNULL,
            stderr=open(self.log, "w"),  # noqa: SIM115
        )
        self.folder = self.output.with_name(f"{name}_checkpoints")

    def newest(self) -> int:
        found = [int(p.stem.split("_")[1]) for p in self.folder.glob("*/iteration_*.json")]
        return max(found, default=0)

    def wait_for_checkpoint(self, after: int = 0) -> None:
        for _ in range(6000):
            if self.newest() > after:
                return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError("no checkpoint")

    def worker(self, rank: int) -> int:
        """Process of a worker."""
        (lock,) = self.folder.glob(f"*/.worker{rank}.lock")
        process = Process.parse(lock.read_text())
        assert process is not None and process.is_alive()
        return process.pid

    def finish(self) -> dict:
        assert self.process.wait(600) == 0, self.log.read_text()
        assert not self.folder.exists() or not list(self.folder.iterdir())
        return read_json(self.output / "run.json")


def weights(record: dict) -> str:
    return record["weights_sha256"]


@pytest.fixture(scope="module")
def plain(tiny) -> dict:
    """An undisturbed training in its own process."""
    return read_json(tiny.finetune(slice_of(tiny), "plain") / "run.json")


@pytest.fixture(scope="module")
def pair(tiny) -> dict:
    """An undisturbed training by two workers on one node."""
    return Training(tiny, "pair", "--workers", "2").finish()


def test_the_code_reaches_nodes_that_have_never_seen_it(tiny, plain, nodes):
    assert nodes.tell("import lemore").startswith("no lemore in ")
    record = Training(tiny, "foreign", **nodes.env).finish()
    assert weights(record) == weights(plain)
    assert nodes.tell("import lemore").startswith("no lemore in ")


def test_two_nodes_compute_what_one_does(tiny, pair, plain, tmp_path):
    nodes = Nodes(tmp_path / "elsewhere", 0)
    try:
        for _ in range(2):
            nodes.tell("add 1")
        training = Training(tiny, "two_nodes", "--workers", "2", **nodes.env)
        training.wait_for_checkpoint()
        raylets = {psutil.Process(training.worker(rank)).ppid() for rank in (0, 1)}
        assert len(raylets) == 2, "both workers are on one node"
        record = training.finish()
    finally:
        nodes.close()
    assert weights(record) == weights(pair) and record["workers"] == 2


def test_two_workers_lose_as_much_as_one(tiny):
    """At the paper's learning rate, without dropout, of which each worker draws its own: the mean
    loss of the first ten steps within 0.5 %, of all tens within 2 %. The sums differ by rounding
    only, but AdamW takes the tiniest gradient for a step."""
    config = slice_of(tiny, dropout=0.0, drop_path=0.0, lr=1.2e-4)
    outputs = [
        tiny.finetune(config, "smooth"),
        tiny.finetune(config, "smooth_pair", "--workers", "2", "--ray", "local"),
    ]
    one, two = ([loss for _, loss in metrics(output)] for output in outputs)
    assert len(one) == 4 and two[0] == pytest.approx(one[0], rel=0.005)
    assert two == pytest.approx(one, rel=0.02)


def test_a_node_that_dies_costs_at_most_one_interval(tiny, plain, tmp_path):
    nodes = Nodes(tmp_path / "elsewhere", 0)
    try:
        for _ in range(2):
            nodes.tell("add 1")
        training = Training(tiny, "node_dies", **nodes.env)
        training.wait_for_checkpoint(after=5)
        reached = training.newest()
        nodes.tell(f"kill {training.worker(0)}")
        record = training.finish()
    finally:
        nodes.close()
    assert record["resumed_at"] >= reached > 0
    assert "goes on from its last checkpoint" in training.log.read_text()
    assert weights(record) == weights(plain)
    assert metrics(training.output) == metrics(tiny.folder / "out/plain")


def metrics(output: Path) -> list:
    rows = MetricsFile(output / "metrics.jsonl").read()
    return [(row["step"], row["metrics"]["train/loss"]) for row in rows]


def test_what_ray_says_of_a_worker_is_a_loss_and_what_a_worker_says_is_not():
    from ray.exceptions import ActorDiedError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
    from ray.train.v2.api.exceptions import WorkerGroupError

    unwell = WorkerHealthCheckFailedError("a health check failed", RuntimeError("killed"))
    closed = RuntimeError("Connection closed by peer")  # what the others see
    for loss in (unwell, ActorDiedError(), closed):
        found = execute.find_cause(WorkerGroupError("", {0: closed, 1: loss}))
        assert isinstance(found, execute.WorkerLost)
    own = OSError("sample 3 is broken")
    assert execute.find_cause(WorkerGroupError("", {0: closed, 1: own, 2: unwell})) is own


@pytest.mark.parametrize("rank", [0, 1])
def test_one_of_two_workers_dies_and_both_go_on(tiny, pair, rank):
    training = Training(tiny, f"rank{rank}_dies", "--workers", "2")
    training.wait_for_checkpoint()
    os.kill(training.worker(rank), signal.SIGKILL)
    record = training.finish()
    assert record["resumed_at"] > 0 and weights(record) == weights(pair)


def test_one_of_two_workers_hangs_and_both_start_again(tiny, pair):
    training = Training(tiny, "rank1_hangs", "--workers", "2", LEMORE_STALL_SECONDS="15")
    training.wait_for_checkpoint()
    os.kill(training.worker(1), signal.SIGSTOP)
    record = training.finish()
    log = training.log.read_text()
    assert re.search(r"worker 0 has spent 16 s in one (step|checkpoint) \(limit 15 s", log)
    assert record["resumed_at"] > 0 and weights(record) == weights(pair)


def test_workers_that_hang_again_and_again_end_it(tmp_path):
    code = (
        "from pathlib import Path; import sys; sys.path.insert(0, 'TESTS')\n"
        "from lemore.runtime.ray.cluster import Resources\n"
        "from lemore.runtime.ray.execute import Work, execute\n"
        "from lemore.runtime.process import StopSignals\n"
        "folder = Path.cwd()\n"
        "from lemore.runtime.worker import Worker\n"
        "work = Work('fault_training:rank_sleeps', None, Worker(folder, folder, seed=3))\n"
        "execute(work, Resources('local', 2, 1, 0), StopSignals())\n"
    ).replace("TESTS", str(ROOT / "tests"))
    (tmp_path / "digest.json").write_text("{}")
    paths = f"{ROOT}:{ROOT / 'tests'}"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean | {"PYTHONPATH": paths, "LEMORE_STALL_SECONDS": "4"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    told = next(line for line in done.stderr.split("\n") if line.startswith("OSError: "))
    assert "3 times without a new checkpoint, giving up" in told and "hang_rank" in told
    stack = (tmp_path / "hang_rank1.txt").read_text()
    assert "worker 1 has spent" in stack and "in sleeping_loss" in stack


def test_what_rays_memory_monitor_ends_is_told(tiny):
    """It ends whom it finds first here: a worker, or Ray Train's own process."""
    training = Training(tiny, "full", "--workers", "2", RAY_memory_usage_threshold="0.001")
    assert training.process.wait(300) == 1
    error = training.log.read_text().split("lemore finetune: error: ")[1]
    assert "ran out of memory: set micro_batch" in error and "giving up" in error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_two_workers_stop_with_the_same_step(tiny, pair, number):
    name = f"stopped_{number.name}"
    training = Training(tiny, name, "--workers", "2")
    training.wait_for_checkpoint()
    training.process.send_signal(number)
    code = {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert training.process.wait(120) == code, training.log.read_text()
    saved = training.newest()
    assert f"stopped after iteration {saved}, state saved" in training.log.read_text()
    record = Training(tiny, name, "--workers", "2").finish()
    assert record["resumed_at"] == saved and weights(record) == weights(pair)


def test_a_node_that_does_not_see_the_folder_is_one_line(tiny, tmp_path):
    hidden = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs x {tiny.folder} && exec "$@"', "sh")
    if subprocess.run([*hidden, "true"], capture_output=True).returncode:
        pytest.skip("no right to hide a folder from a process")
    nodes = Nodes(tmp_path / "elsewhere", 2, prefix=hidden)
    try:
        training = Training(tiny, "unseen", **nodes.env)
        assert training.process.wait(300) == 2
    finally:
        nodes.close()
    log = training.log.read_text()
    assert "does not see" in log and "every node of the cluster has at the same path" in log
    assert "Traceback" not in log.split("lemore finetune: error")[1]


def test_what_the_cluster_can_never_do_is_one_line(tiny):
    for options, text in (
        (("--gpus", "1"), "with 1 GPU each are asked for; the cluster has 0 GPU in all"),
        (("--workers", "3"), "batch_size 4 does not divide among 3"),
    ):
        training = Training(tiny, "never", *options, CUDA_VISIBLE_DEVICES="")
        assert training.process.wait(300) == 2, training.log.read_text()
        assert text in training.log.read_text().split("error: ")[-1]


def test_without_a_network_and_a_home_ray_works(tiny, plain):
    alone = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no right to take the network away")
    output = tiny.folder / "out/alone"
    command = [sys.executable, "-m", "lemore.cli"]
    command += map(str, tiny.finetune_command(slice_of(tiny), output))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_", "HOME"))}
    uri = f"sqlite:///{tiny.folder / 'mlflow.db'}"
    done = subprocess.run(
        [*alone, *command, "--ray", "local"],
        cwd=tiny.folder,
        env=clean | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert weights(read_json(output / "run.json")) == weights(plain)


# --- under Snakemake


CONFIG = """
run: small
recipes: config/recipes/scenes
recipe_changes: {train: {iterations: 60, checkpoint_every: 5, validate_every: 0, threads: 1}}
archives_dir: resources/archives
data_dir: resources/datasets
seeds: [0]
pretrain: null
init: {lemore: none}
trainings: {ade20k_scenes: [lemore]}
profiles: {}
latency_seconds: 1.0
paper_tables: false
comparisons: {}
ray: {mode: local, workers: 1, gpus: 0}
log_model: false
"""
TARGET = Path("results/small/finetune/ade20k_scenes/lemore/0/run.json")


class Pipeline:
    """A copy of the project whose data is prepared."""

    def __init__(self, folder: Path):
        self.folder = paced(folder)
        (folder / "small.yaml").write_text(CONFIG)
        self.start("resources/datasets/ade20k_scenes/digest.json").wait(600)

    def start(self, target: object, *options: str, **env: str) -> subprocess.Popen:
        command = [str(Path(sys.executable).with_name("snakemake")), "--configfile", "small.yaml"]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
        return subprocess.Popen(
            [*command, "--cores", "2", *options, str(target)],
            cwd=self.folder,
            env=clean | {"PYTHONPATH": str(self.folder)} | env,
            stdout=open(self.folder / "out.log", "w"),
            stderr=subprocess.STDOUT,
        )

    def checkpoints(self) -> list[str]:
        return sorted(
            p.name for p in self.folder.glob("results/small/checkpoints/**/iteration_*.json")
        )

    def wait_for_checkpoint(self, process: subprocess.Popen) -> None:
        while not self.checkpoints():
            assert process.poll() is None, (self.folder / "out.log").read_text()
            time.sleep(0.05)

    def clear(self) -> None:
        shutil.rmtree(self.folder / "results", ignore_errors=True)

    def record(self) -> dict:
        return read_json(self.folder / TARGET)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Pipeline:
    return Pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def undisturbed(pipeline) -> dict:
    assert pipeline.start(TARGET).wait(600) == 0, (pipeline.folder / "out.log").read_text()
    record = pipeline.record()
    pipeline.clear()
    return record


def test_a_pipeline_needs_no_attention_when_a_node_dies(pipeline, undisturbed, tmp_path):
    nodes = Nodes(tmp_path / "elsewhere", 0)
    try:
        for _ in range(2):
            nodes.tell("add 1")
        run = pipeline.start(TARGET, **nodes.env)
        pipeline.wait_for_checkpoint(run)
        (lock,) = pipeline.folder.glob("results/small/checkpoints/**/.worker0.lock")
        nodes.tell(f"kill {lock.read_text().split()[0]}")
        assert run.wait(600) == 0, (pipeline.folder / "out.log").read_text()
    finally:
        nodes.close()
    record = pipeline.record()
    pipeline.clear()
    assert record["resumed_at"] > 0 and weights(record) == weights(undisturbed)


def test_a_killed_pipeline_leaves_nobody_behind_and_goes_on(pipeline, undisturbed):
    run = pipeline.start(TARGET)
    pipeline.wait_for_checkpoint(run)
    run.kill()
    run.wait()
    for _ in range(600):
        left = of_pipeline(run.pid)
        if not left:
            break
        time.sleep(0.1)
    assert not left, left
    assert pipeline.start("--unlock").wait(100) == 0
    assert pipeline.start(TARGET).wait(600) == 0, (pipeline.folder / "out.log").read_text()
    record = pipeline.record()
    pipeline.clear()
    assert record["resumed_at"] > 0 and weights(record) == weights(undisturbed)


def of_pipeline(owner: int) -> list[str]:
    """Living processes that the pipeline with this process id has started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LEMORE_OWNER", "").split()[:1] == [str(owner)]:
                found.append(f"{process.pid} {process.name()}")
        except (psutil.Error, OSError):
            continue
    return found
