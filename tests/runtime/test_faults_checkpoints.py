"""Faults 1, 2, 3 and 6 of docs/faults.md: kills, damaged checkpoints, a full disk."""

import json
import logging
import os
import random
import resource
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fault_training import INTERVAL, ITERATIONS, make_loop, run, start

from lemore.runtime import checkpoint
from lemore.runtime.checkpoint import Checkpoints
from lemore.runtime.files import remove_temporaries, write_atomic
from lemore.runtime.process import Stopped
from lemore.runtime.tracking.metrics_file import MetricsFile

pytestmark = pytest.mark.usefixtures("one_thread")
SEEDS = range(20)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict:
    """The outcome of a training that nobody disturbs, and its seconds."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    finish(folder)  # the server imports everything first
    shutil.rmtree(folder)
    begin = time.monotonic()
    outcome = finish(folder) | {"seconds": time.monotonic() - begin}
    return outcome | {"metrics": metrics(folder)}


def finish(folder: Path) -> dict:
    """Lets a training go to its end; returns its outcome."""
    folder.mkdir(exist_ok=True)
    process = start(run, folder)
    process.join(60)
    assert process.exitcode == 0, folder.with_suffix(".log").read_text()
    return json.loads((folder / "outcome.json").read_text())


def metrics(folder: Path) -> list[list]:
    """What a training has told, times left out."""
    rows = MetricsFile(folder / "metrics.jsonl").read()
    names = ("train/loss", "train/lr", "train/skipped_steps")
    return [[row["step"], *(row["metrics"][name] for name in names)] for row in rows]


def check(folder: Path, outcome: dict, plain: dict) -> None:
    """The same weights, every metric once and the same, and nothing left over."""
    assert outcome["digest"] == plain["digest"]
    assert metrics(folder) == plain["metrics"]
    assert [step for step, *_ in plain["metrics"]] == list(range(10, ITERATIONS + 1, 10))
    assert not list(folder.glob(".*"))
    assert len(list(folder.glob("iteration_*"))) == 4


@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_any_moment_end_with_the_same_bits(tmp_path, plain, seed):
    folder, rng, killed = tmp_path / "run", random.Random(seed), 0
    folder.mkdir()
    for _ in range(3):
        process = start(run, folder, pause=0.002)
        time.sleep(rng.uniform(0, 1.2) * plain["seconds"] + 0.002 * ITERATIONS * rng.random())
        process.kill()
        process.join()
        killed += process.exitcode == -9
        newest = Checkpoints(folder).load_newest()
        assert newest is None or newest["iteration"] % INTERVAL == 0
    outcome = finish(folder)
    check(folder, outcome, plain)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path, plain, seed):
    folder, rng = tmp_path / "run", random.Random(seed)
    folder.mkdir()
    # each checkpoint is two files, weights and hash; the rewinding of the metrics is before
    number, thousandths = rng.randint(2, 2 * ITERATIONS // INTERVAL + 1), rng.randint(0, 1000)
    process = start(run, folder, cut=(number, thousandths))
    process.join(60)
    assert process.exitcode == -9
    whole = (number - 2) // 2 * INTERVAL
    newest = Checkpoints(folder).load_newest()
    assert (newest["iteration"] if newest else 0) == whole
    assert list(folder.glob(".*.tmp"))
    outcome = finish(folder)
    assert outcome["resumed_at"] == whole
    check(folder, outcome, plain)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_newest_checkpoint_is_told_and_passed_over(tmp_path, plain, seed):
    folder, rng = tmp_path / "run", random.Random(seed)
    finish(folder)
    newest, before = Checkpoints(folder).list_paths()
    kept = before.read_bytes()
    damage(rng.choice([newest, newest.with_suffix(".json")]), rng)
    outcome = finish(folder)
    assert outcome["resumed_at"] == ITERATIONS - INTERVAL
    assert f"{newest}: checksum differs" in folder.with_suffix(".log").read_text()
    assert before.read_bytes() == kept
    check(folder, outcome, plain)


def damage(path: Path, rng: random.Random) -> None:
    """Flips a bit of one byte, or cuts the file."""
    data = bytearray(path.read_bytes())
    place = rng.randrange(len(data))
    if rng.random() < 0.5:
        data[place] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    else:
        path.write_bytes(data[:place])


def test_no_checkpoint_left_is_a_failure_and_no_restart(tmp_path):
    folder = tmp_path / "run"
    finish(folder)
    for path in Checkpoints(folder).list_paths():
        damage(path, random.Random(0))
    before = {path: path.read_bytes() for path in folder.iterdir() if path.suffix == ".pt"}
    process = start(run, folder)
    process.join(60)
    assert process.exitcode == 1
    with pytest.raises(ValueError, match=r"every checkpoint is damaged; remove it to start anew"):
        make_loop(folder)
    assert all(path.read_bytes() == data for path, data in before.items())


# --- checkpoints that are written while the training goes on


@pytest.fixture
def slow_disk(monkeypatch):
    """Every checkpoint takes a second to write."""
    write = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *args: (time.sleep(1), write(*args)))


def test_the_state_is_on_disk_before_a_stopped_training_says_so(tmp_path, slow_disk):
    steps = iter(range(1, 100))
    with pytest.raises(Stopped, match="after iteration 12, state saved"):
        make_loop(tmp_path, stop=lambda: next(steps) == 12).train()
    newest = Checkpoints(tmp_path).load_newest()
    assert newest is not None and newest["iteration"] == 12
    assert not list(tmp_path.glob(".*")) and not writers()
    assert make_loop(tmp_path).train().resumed_at == 12


def test_an_interrupt_waits_for_what_is_being_written(tmp_path, slow_disk):
    calls = iter(range(1, 100))

    def loss(network, batch):
        if next(calls) == 7:
            raise KeyboardInterrupt
        return network(batch["x"]).square().mean()

    with pytest.raises(KeyboardInterrupt):
        make_loop(tmp_path, loss=loss).train()
    newest = Checkpoints(tmp_path).load_newest()
    assert newest is not None and newest["iteration"] == 5
    assert not list(tmp_path.glob(".*")) and not writers()


def writers() -> list[str]:
    """Threads that still write checkpoints."""
    return [t.name for t in threading.enumerate() if t.name.startswith("checkpoint")]


# --- a full disk


def small_disk(folder: Path, size: str) -> None:
    """Mounts a file system of this size; skips where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no right to mount a small disk: {done.stderr.strip()}")


def test_a_full_disk_stops_the_training_and_keeps_what_there_was(tmp_path, plain):
    disk = tmp_path / "disk"
    small_disk(disk, "64k")
    try:
        folder = disk / "run"
        folder.mkdir()
        filler = disk / "filler"
        made = make_loop(folder, record=lambda step, metrics: None)

        def fill(iteration: int) -> float:
            if iteration == 12:
                while len(Checkpoints(folder).list_paths()) < 2:  # written in the background
                    time.sleep(0.01)
                filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - 4096))
            return made.learning_rate(iteration)

        with pytest.raises(OSError, match=r"no space left for .*iteration_00000015\.pt: \d+ bytes"):
            replace(made, learning_rate=fill).train()
        left = [path.name for path in Checkpoints(folder).list_paths()]
        assert left == ["iteration_00000010.pt", "iteration_00000005.pt"]
        assert not list(folder.glob(".*"))
        filler.unlink()
        again = make_loop(folder, record=lambda step, metrics: None)
        assert again.train().resumed_at == 10
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("limit", [0, 100, 5000])
def test_no_room_for_a_file_names_path_and_bytes(tmp_path, limit):
    path = tmp_path / "x.pt"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match=rf"no space left for {path}: 10000 bytes to write"):
            write_atomic(path, b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["x.pt"]


def test_remains_are_removed_and_nothing_else(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    checkpoints = Checkpoints(tmp_path, about={"torch": "2.13", "workers": 2, "global batch": 8})
    checkpoints.save(5, {"model": {}})
    (tmp_path / ".iteration_00000010.pt.4711.tmp").write_bytes(b"x")
    (tmp_path / "iteration_00000010.pt").write_bytes(b"x")  # killed before its hash was written
    checkpoints.remove_remains()
    remove_temporaries(tmp_path / "nowhere")
    assert sorted(os.listdir(tmp_path)) == ["iteration_00000005.json", "iteration_00000005.pt"]


def test_what_a_kill_before_dropping_has_left_is_dropped_by_the_next(tmp_path):
    killed = Checkpoints(tmp_path, keep=3)  # which wrote the third and did not get to the first
    for iteration in (5, 10, 15):
        killed.save(iteration, {})
    Checkpoints(tmp_path).remove_remains()
    left = {path.stem for path in tmp_path.iterdir()}
    assert left == {"iteration_00000010", "iteration_00000015"}


def test_a_checkpoint_says_who_wrote_it(tmp_path, caplog):
    Checkpoints(tmp_path, about={"torch": "2.13", "workers": 2, "global batch": 8}).save(5, {})
    now = {"torch": "2.14", "workers": 2, "global batch": 8}
    assert Checkpoints(tmp_path, about=now).load_newest()
    assert "written with torch 2.13, goes on with 2.14" in caplog.text
    assert "workers" not in caplog.text
    with pytest.raises(
        ValueError, match="global batch of 8, now 16: that would be another training"
    ):
        Checkpoints(tmp_path, about=now | {"global batch": 16}).load_newest()
