"""Faults 4, 5, 10, 12, 14, 18, 19 and 20 of docs/faults.md, each on a real command."""

import errno
import math
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import Tiny, tiny_digest
from fault_training import GO, lemore, start

from lemore.config.jobs import FinetuneJob, read_job
from lemore.data.photo import FILE
from lemore.data.store import PackWriter, pack_label
from lemore.runtime.files import read_json
from lemore.runtime.lock import LockHeld, hold_lock
from lemore.runtime.process import Process
from lemore.runtime.tracking import mlflow
from lemore.stages.training import Placement, Training, make_key, make_worker, publish

ITERATIONS = 8


class Case:
    """A folder with tiny data, in which commands run in children of the fork server."""

    def __init__(self, folder: Path):
        self.tiny = Tiny(folder)
        self.folder = folder
        self.config = self.tiny.finetune_job(
            iterations=ITERATIONS, checkpoint_every=100, validate_every=0, loader_workers=0
        )

    def command(self, name: str, *options: object, data: Path | None = None) -> list[str]:
        output, checkpoints = self.folder / name, self.folder / f"{name}_checkpoints"
        command: list[object] = ["finetune", "--config", self.config, "--data"]
        command += [data or self.tiny.data, "--output", output, "--checkpoints", checkpoints]
        return list(map(str, [*command, *options]))

    def start(self, command: list[str], fault: str = "", **environment: str) -> BaseProcess:
        return start(lemore, self.folder, command, fault, **environment)

    def run(self, command: list[str], fault: str = "", **environment: str) -> tuple[int, str]:
        """Exit code and output."""
        process = self.start(command, fault, **environment)
        process.join(300)
        assert process.exitcode is not None, "it did not end"
        return process.exitcode, self.log()

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def wait(self, text: str, process: BaseProcess) -> None:
        """Until the log says so."""
        for _ in range(3000):
            if (self.folder / "log").exists() and text in self.log():
                return
            assert process.is_alive(), self.log()
            time.sleep(0.05)
        raise AssertionError(f"never said '{text}': {self.log()}")

    def disturb(self, process: BaseProcess, number: signal.Signals) -> None:
        """A signal to a training under `held_steps`, which then goes on and ends."""
        self.wait("held", process)
        assert process.pid is not None
        os.kill(process.pid, number)
        (self.folder / GO).touch()
        process.join(60)
        (self.folder / GO).unlink()

    def record(self, name: str) -> dict:
        return read_json(self.folder / name / "run.json")

    def runs(self, stage: str = "finetune") -> list:
        """The runs in the tracking store."""
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{self.folder / 'mlflow.db'}"
        client = mlflow.connect()
        del os.environ["MLFLOW_TRACKING_URI"]
        experiments = [e.experiment_id for e in client.search_experiments()]
        return client.search_runs(experiments, f"tags.`lemore.stage` = '{stage}'")


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    return Case(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def plain(case) -> dict:
    """run.json of an undisturbed training."""
    code, log = case.run(case.command("plain"))
    assert code == 0, log
    shutil.rmtree(case.folder / "mlflow_outbox", ignore_errors=True)
    return case.record("plain")


def one_line(log: str) -> str:
    """The error that ends a command; nothing but it and ordinary log lines may be there."""
    assert "Traceback" not in log, log
    (line,) = [line for line in log.split("\n") if ": error: " in line]
    return line


# --- 4, 5: signals


@pytest.mark.parametrize(
    ("number", "code", "fault"),
    [
        (signal.SIGTERM, 143, "held_steps"),
        pytest.param(signal.SIGTERM, 143, "slow_disk", marks=pytest.mark.slow),
        (signal.SIGINT, 130, "held_steps"),
    ],
)
def test_a_signal_saves_within_a_step_and_the_same_run_goes_on(tmp_path, number, code, fault):
    case = Case(tmp_path)
    process = case.start(case.command("stopped"), fault)
    case.disturb(process, number)
    assert process.exitcode == code, case.log()
    assert "stopped; the same command resumes" in case.log()
    (saved,) = tmp_path.glob("stopped_checkpoints/*/iteration_*.pt")
    (run,) = case.runs()
    assert run.info.status == "KILLED"
    code, log = case.run(case.command("stopped"))
    assert code == 0, log
    record = case.record("stopped")
    assert record["resumed_at"] == int(saved.stem.split("_")[1]) == 2
    (again,) = case.runs()
    assert again.info.run_id == run.info.run_id == record["mlflow_run_id"]
    assert again.info.status == "FINISHED"
    code, log = case.run(case.command("undisturbed"))
    assert case.record("undisturbed")["weights_sha256"] == record["weights_sha256"]
    assert not [path for end in ("lock", "tmp") for path in tmp_path.rglob(f"*.{end}")]
    assert not (tmp_path / "mlflow_outbox").exists()


def test_a_second_interrupt_ends_it_at_once(tmp_path):
    case = Case(tmp_path)
    process = case.start(case.command("twice"), "slow_steps")
    case.wait("starts at iteration 0", process)
    assert process.pid is not None
    begin = time.monotonic()
    for _ in range(2):
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.5)
    process.join(60)
    assert process.exitcode == 130, case.log()
    assert time.monotonic() - begin < 25, "it waited for the step"
    assert not list(tmp_path.rglob("*.tmp"))
    assert not list((tmp_path / "twice_checkpoints").rglob("*.lock"))


# --- 10: data that breaks after it was prepared


def png_store(folder: Path) -> Path:
    """12 training images as PNG files in a prepared dataset."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    writer = PackWriter(folder, "train", "segmentation")
    for i in range(12):
        image = rng.integers(0, 255, (80, 112, 3), np.uint8)
        label = rng.integers(0, 4, (80, 112), np.uint8)
        data = cv2.imencode(".png", image)[1].tobytes()
        writer.add(f"photo_{i}", (80, 112), data, FILE, pack_label(label))
    writer.close()
    tiny_digest(folder, "segmentation")
    return folder


def test_an_image_that_breaks_later_is_named_and_the_training_goes_on_when_mended(tmp_path):
    case = Case(tmp_path)
    data = png_store(tmp_path / "png/tiny")
    pack = data / "train.images"
    whole = pack.read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 2 : len(whole) // 2 + 4000] = bytes(4000)
    pack.write_bytes(broken)
    command = case.command("broken", data=data)
    code, log = case.run(command)
    assert code == 1
    assert "sample " in (line := one_line(log)) and "('photo_" in line and "draw" in line
    pack.write_bytes(whole)
    code, log = case.run(command)
    assert code == 0, log


def test_a_pack_that_was_cut_is_named(tmp_path):
    case = Case(tmp_path)
    pack = case.tiny.data / "train.images"
    os.truncate(pack, pack.stat().st_size - 1)
    code, log = case.run(case.command("cut"))
    assert code == 1 and "train.images: cut short; run prepare again" in one_line(log)


# --- 12: a step that is not finite


def test_a_step_left_out_is_in_the_record(case, plain):
    code, log = case.run(case.command("nan"), "nan_at_third_step")
    assert code == 0, log
    assert plain["skipped_steps"] == 0
    assert case.record("nan")["skipped_steps"] == 1
    assert case.record("nan")["weights_sha256"] != plain["weights_sha256"]


# --- publishing


def test_results_may_lie_on_another_file_system(tmp_path, monkeypatch):
    """And a publishing that is cut off can be done again."""
    replace = os.replace

    def across(source, target):
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", across)
    work, output = tmp_path / "work", tmp_path / "results/output"
    work.mkdir()
    for name in ("weights.pt", "metrics.jsonl"):
        (work / name).write_text(name)
    output.mkdir(parents=True)
    (output / ".weights.pt.1.tmp").write_text("half")
    for _ in range(2):
        publish(work, output, {"seed": 0})
    found = {path.name for path in output.iterdir()}
    assert found == {"weights.pt", "metrics.jsonl", "run.json"}
    assert (output / "weights.pt").read_text() == "weights.pt"
    assert (output / "metrics.jsonl").read_text() == "metrics.jsonl"


# --- 14: two at once


def test_the_second_of_two_trainings_names_the_first_and_its_lock_dies_with_it(tmp_path):
    case = Case(tmp_path)
    first = case.start(case.command("same"), "slow_steps")
    case.wait("starts at iteration 0", first)
    code, log = case.run(case.command("same"))
    assert code == 1
    assert f"process {first.pid} on {Process.find_own().host} is writing it" in one_line(log)
    first.kill()
    first.join()
    code, log = case.run(case.command("same"))
    assert code == 0, log


def test_the_children_of_a_dead_holder_keep_nobody_waiting(tmp_path):
    release, held = os.pipe(), os.pipe()
    holder = os.fork()
    if not holder:
        with hold_lock(tmp_path / "x"):
            if not os.fork():  # as a loader process does, it outlives the holder
                os.close(release[1])
                os.read(release[0], 1)
                os._exit(0)
            os.write(held[1], b"x")
            time.sleep(600)
    os.read(held[0], 1)
    with pytest.raises(LockHeld, match=rf"process {holder} on "), hold_lock(tmp_path / "x", 0.3):
        pass
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    with hold_lock(tmp_path / "x"):
        assert (tmp_path / ".x.lock").exists()
    assert not (tmp_path / ".x.lock").exists()
    os.close(release[1])


def test_a_forked_child_that_leaves_the_block_does_not_free_the_lock(tmp_path):
    lock = hold_lock(tmp_path / "x")
    lock.__enter__()
    child = os.fork()
    if not child:
        lock.__exit__(None, None, None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(LockHeld), hold_lock(tmp_path / "x"):
        pass
    lock.__exit__(None, None, None)
    assert not (tmp_path / ".x.lock").exists()


def test_a_lock_that_was_just_removed_is_not_taken_for_one(tmp_path):
    order = []
    with hold_lock(tmp_path / "x"):
        waiter = os.fork()
        if not waiter:
            with hold_lock(tmp_path / "x", math.inf):
                os._exit(0 if (tmp_path / ".x.lock").exists() else 1)
        time.sleep(0.3)
        order.append("released")
    _, status = os.waitpid(waiter, 0)
    assert order and os.waitstatus_to_exitcode(status) == 0


# --- 18: other workers, another batch


@pytest.mark.parametrize(("gpus", "differs"), [(0.0, True), (1.0, False)])
def test_the_number_of_workers_is_part_of_the_key_where_trainings_repeat_to_the_bit(
    case, plain, gpus, differs
):
    keys = {make_key("code", *make_training(case, workers, gpus), "data") for workers in (1, 2)}
    assert len(keys) == 1 + differs


def test_what_a_changed_training_replaces_is_removed_and_nothing_else(tmp_path):
    case = Case(tmp_path)
    for seed in (0, 1):
        (tmp_path / "log").unlink(missing_ok=True)
        process = case.start(case.command("changed", "--seed", str(seed)), "held_steps")
        case.disturb(process, signal.SIGTERM)
        assert process.exitcode == 143, case.log()
    first, other = sorted(tmp_path.glob("changed_checkpoints/*"), key=lambda p: p.stat().st_mtime)
    case.config.write_text(
        case.config.read_text().replace("warmup_iterations: 2", "warmup_iterations: 3")
    )
    code, log = case.run(case.command("changed"))
    assert code == 0, log
    assert case.record("changed")["resumed_at"] == 0
    assert not first.exists() and list(other.glob("iteration_*.pt"))


def make_training(case: Case, workers: int, gpus: float) -> tuple[Training, Placement]:
    folder, job = case.config.parent, read_job(FinetuneJob, case.config)
    placement = Placement(case.config, folder, folder, folder, 0, "none", workers, gpus, False)
    worker = make_worker(placement)
    return Training("finetune", job, "", (), {}, 1, worker, {}, {}), placement


def test_a_batch_that_does_not_divide_is_refused(case):
    code, log = case.run(case.command("three", "--workers", "3", "--ray", "none"))
    assert code == 2 and "ray: none runs one worker" in one_line(log)


# --- 19: an evaluation killed half-way


def test_a_killed_evaluation_publishes_nothing(case, plain):
    def command(name: str) -> list[str]:
        weights = str(case.folder / "plain/weights.pt")
        data = ["--dataset", "tiny", "--data-dir", str(case.folder / "data")]
        return ["evaluate", "--checkpoint", weights, *data, "--json", str(case.folder / name)]

    (case.folder / "log").unlink(missing_ok=True)
    process = case.start(command("killed.json"), "held_images")
    case.wait("held", process)
    process.kill()
    process.join()
    assert process.exitcode == -9
    assert not (case.folder / "killed.json").exists() and not (case.folder / "killed").exists()
    for name in ("killed.json", "whole.json"):
        code, log = case.run(command(name))
        assert code == 0, log
    again, whole = (read_json(case.folder / name) for name in ("killed.json", "whole.json"))
    assert again["confusion"] == whole["confusion"] and again["miou"] == whole["miou"]
    assert {run.info.status for run in case.runs("evaluate")} == {"FINISHED"}


# --- 20: the environment


def test_a_jumping_clock_changes_nothing(case, plain):
    code, log = case.run(case.command("clock"), "jumping_clock")
    assert code == 0, log
    record = case.record("clock")
    assert record["weights_sha256"] == plain["weights_sha256"] and 0 < record["seconds"] < 3000


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_folder_that_may_not_be_written_is_one_line(open_folder):
    case = Case(open_folder)
    (case.folder / "log").write_text("")
    for path in case.folder.rglob("*"):
        path.chmod(path.stat().st_mode & ~0o222 | stat.S_IROTH)
    case.folder.chmod(0o555)
    code, log = case.run(case.command("out"), "nobody")
    assert code == 1
    assert f"Permission denied: '{case.folder}/out_checkpoints" in one_line(log)
    case.folder.chmod(0o755)


def test_no_home_is_needed(open_folder):
    case = Case(open_folder)
    for path in (open_folder, *open_folder.rglob("*")):
        path.chmod(0o777)
    code, log = case.run(case.command("out"), "homeless")
    assert code == 0, log


@pytest.mark.parametrize("stage", ["finetune", "evaluate"])
def test_a_gpu_where_there_is_none_is_one_line(case, plain, stage):
    command = case.command("gpu", "--gpus", "1")
    if stage == "evaluate":
        command = ["evaluate", "--checkpoint", str(case.folder / "plain/weights.pt"), "--gpus=1"]
        command += ["--dataset", "tiny", "--data-dir", str(case.folder / "data")]
        command += ["--json", str(case.folder / "gpu.json")]
    code, log = case.run(command, CUDA_VISIBLE_DEVICES="")
    assert code == 2
    assert "torch sees no" in one_line(log)
