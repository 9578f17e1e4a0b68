"""Trainings, evaluations, kills and restarts at random, for as long as one likes (not collected).

    python tests/soak.py --minutes 30

Four lanes share a tracking store and a machine. Each trains with a seed of its own, is killed or
stopped at a random moment, goes on, and evaluates; now and then the store is locked for a while.
In the end: no metric lost or doubled, every run closed, weights equal to an undisturbed training's,
no process, file or lock left, and the memory of the last trainings that of the first.
"""

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
from conftest import ROOT, Tiny

from lemore.files import read_json
from lemore.training import mlflow_runs

ITERATIONS, LANES = 60, 4
COMMAND = "import resource, sys; from lemore.cli import main; code = main(sys.argv[1:])\n"
COMMAND += "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"


class Lane(threading.Thread):
    """One person who trains, evaluates and loses patience."""

    def __init__(self, number: int, tiny: Tiny, config: Path, end: float, truth: dict[int, str]):
        super().__init__()
        self.number, self.tiny, self.config, self.end = number, tiny, config, end
        self.truth, self.rng = truth, random.Random(number)
        self.seen: Counter[str] = Counter()
        self.peaks: list[int] = []
        self.problems: list[str] = []

    def run(self) -> None:
        rounds = 0
        while time.monotonic() < self.end:
            name, seed = f"lane{self.number}_{rounds}", rounds % len(self.truth)
            self.train(name, seed)
            self.evaluate(name)
            rounds += 1

    def train(self, name: str, seed: int) -> None:
        output = self.tiny.folder / "out" / name
        ray = ["--ray", "local"] * (self.rng.random() < 0.2)
        command = [*self.tiny.finetune_command(self.config, output), "--seed", seed, *ray]
        for _ in range(self.rng.randint(0, 3)):
            number = self.rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            code, log = self.lemore(name, command, number)
            self.seen[f"{number.name} {code}"] += 1
            if code == 0:
                break
            if code not in (-9, 143, 130):
                self.problems.append(f"{name}: exit {code}: {log[-500:]}")
        code, log = self.lemore(name, command)
        if code:
            return self.problems.append(f"{name}: exit {code}: {log[-500:]}")
        record = read_json(output / "run.json")
        self.seen["trained"] += 1
        if record["weights_sha256"] != self.truth[seed]:
            self.problems.append(f"{name}: other weights than without a disturbance")

    def evaluate(self, name: str) -> None:
        folder = self.tiny.folder
        path = folder / f"evaluate/{name}.json"
        command = ["evaluate", "--checkpoint", folder / "out" / name / "weights.pt"]
        command += ["--dataset", "tiny", "--data-dir", folder / "data", "--threads", "1"]
        command += ["--json", path]
        if self.rng.random() < 0.3:
            code, _ = self.lemore(name, command, signal.SIGKILL)
            self.seen[f"evaluation SIGKILL {code}"] += 1
            if code and path.exists():
                self.problems.append(f"{name}: a killed evaluation published something")
        code, log = self.lemore(name, command)
        self.seen["evaluated"] += 1
        if code:
            self.problems.append(f"{name}: evaluation: exit {code}: {log[-500:]}")

    def lemore(
        self, name: str, command: list, number: signal.Signals | None = None
    ) -> tuple[int, str]:
        """Exit code and log, perhaps after a signal at a random moment."""
        log = self.tiny.folder / f"{name}.log"
        with open(log, "w") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, *map(str, command)],
                cwd=self.tiny.folder,
                env=environment(self.tiny.folder),
                stdout=file,
                stderr=file,
            )
            if number is not None:
                try:
                    process.wait(self.rng.uniform(2, 25))
                except subprocess.TimeoutExpired:
                    process.send_signal(number)
            code = process.wait()
        text = log.read_text()
        if code == 0 and number is None and command[0] == "finetune":
            self.peaks.append(int(text.split("peak ")[-1].split()[0]))
        return code, text


def environment(folder: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
    clean |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "SOAK": str(folder)}
    return clean | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def lock_the_store(folder: Path, end: float, seen: Counter[str]) -> None:
    """Every now and then nobody can write to it for some seconds."""
    rng = random.Random(99)
    while time.monotonic() < end:
        time.sleep(rng.uniform(10, 40))
        if (folder / "mlflow.db").exists():
            store = sqlite3.connect(folder / "mlflow.db", timeout=60)
            store.execute("BEGIN EXCLUSIVE")
            time.sleep(rng.uniform(1, 12))
            store.rollback()
            store.close()
            seen["store locked"] += 1


def problems_left(tiny: Tiny) -> list[str]:
    """Processes, files, locks and runs that should not be there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SOAK") == str(tiny.folder):
                found.append(f"process {process.pid} {' '.join(process.cmdline())[:120]}")
        except (psutil.Error, OSError):
            continue
    for pattern in ("*.lock", "*.tmp", "iteration_*", "hang_*"):
        found += [f"file {path}" for path in tiny.folder.rglob(pattern)]
    if (tiny.folder / "mlflow_outbox").exists():
        found.append(f"outbox: {list((tiny.folder / 'mlflow_outbox').iterdir())}")
    return found + list(runs_wrong(tiny))


def runs_wrong(tiny: Tiny) -> list[str]:
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tiny.folder / 'mlflow.db'}"
    client, found = mlflow_runs.connect(), []
    experiments = [e.experiment_id for e in client.search_experiments()]
    for run in client.search_runs(experiments, max_results=5000):
        if run.info.status != "FINISHED":
            found.append(f"run {run.info.run_name}: {run.info.status}")
        if run.data.tags["lemore.stage"] == "finetune":
            steps = [m.step for m in client.get_metric_history(run.info.run_id, "train/loss")]
            if sorted(set(steps)) != steps or steps[-1] != ITERATIONS or len(steps) < 6:
                found.append(f"run {run.info.run_name}: metrics at {steps}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    tiny = Tiny(folder)
    config = tiny.finetune_slice(
        iterations=ITERATIONS, checkpoint_every=7, validate_every=0, threads=1, loader_workers=0
    )
    truth = {}
    for seed in range(3):
        output = tiny.finetune(config, f"truth{seed}", "--seed", seed)
        truth[seed] = read_json(output / "run.json")["weights_sha256"]
    end, seen = time.monotonic() + 60 * args.minutes, Counter[str]()
    locker = threading.Thread(target=lock_the_store, args=(folder, end, seen), daemon=True)
    lanes = [Lane(number, tiny, config, end, truth) for number in range(LANES)]
    for thread in (locker, *lanes):
        thread.start()
    for lane in lanes:
        lane.join()
    locker.join()
    tiny.lemore("sync")
    problems = [problem for lane in lanes for problem in lane.problems]
    deadline = time.monotonic() + 30  # Ray's processes take a moment to leave
    while (left := problems_left(tiny)) and time.monotonic() < deadline:
        time.sleep(1)
    for lane in lanes:
        seen += lane.seen
        if lane.peaks:
            print(f"lane {lane.number}: peak MiB {[peak // 1024 for peak in lane.peaks]}")
    print("\n".join(f"{name}: {count}" for name, count in sorted(seen.items())))
    print("\n".join(problems + left) or "nothing lost, nothing left over")
    if not problems + left:
        shutil.rmtree(folder)
    return int(bool(problems + left))


if __name__ == "__main__":
    sys.exit(main())
