"""Trainings, evaluations, kills and restarts at random, for any time (not collected by pytest).

    python tests/soak.py --minutes 30

Four lanes share a tracking store and a machine. Each trains, is killed or stopped at random,
resumes, and evaluates; now and then the store is locked for a while. In the end weights, metrics
and evaluations equal an undisturbed training's, on disk and in the store, none lost or doubled;
every run is closed; no process, file or lock is left. The peaks of memory are printed: the last
trainings should need as much as the first.
"""

import argparse
import os
import random
import re
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
from typing import NamedTuple

import psutil
from conftest import ROOT, Tiny

from lemore.config.read import dump, read_yaml
from lemore.config.recipe_files import load_recipe
from lemore.runtime.files import read_json
from lemore.runtime.tracking import mlflow
from lemore.runtime.tracking.metrics_file import MetricsFile

ITERATIONS, LANES = 60, 4
# Says how the command ended: a signal may come while the interpreter exits, and is nobody's then.
COMMAND = "import resource, sys; from lemore.cli import main; code = main(sys.argv[1:])\n"
COMMAND += "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
COMMAND += "print('ended', code, 'peak', peak, flush=True); sys.exit(code)"
ENDED = re.compile(r"^ended (\d+) peak (\d+)$", re.M)


Rows = list[tuple[int, float]]


class Truth(NamedTuple):
    """What an undisturbed training gives: its weights, (step, loss), and an evaluation's matrix."""

    weights: str
    losses: Rows
    confusion: list[list[int]]


class Lane(threading.Thread):
    """One person who trains, evaluates and loses patience."""

    def __init__(self, number: int, tiny: Tiny, config: Path, end: float, truths: list[Truth]):
        super().__init__()
        self.number, self.tiny, self.config, self.end = number, tiny, config, end
        self.truths, self.rng = truths, random.Random(number)
        self.seen: Counter[str] = Counter()
        self.done: dict[str, int] = {}  # trainings and their seeds
        self.peaks: list[int] = []
        self.problems: list[str] = []

    def run(self) -> None:
        rounds = 0
        while time.monotonic() < self.end:
            name, seed = f"lane{self.number}_{rounds}", rounds % len(self.truths)
            try:
                self.train(name, seed)
                self.evaluate(name, seed)
            except Exception as error:  # else the lane would end, and nobody be told
                self.problems.append(f"{name}: {type(error).__name__}: {error}")
            rounds += 1

    def train(self, name: str, seed: int) -> None:
        output = self.tiny.folder / "out" / name
        ray = ["--ray", "local"] * (self.rng.random() < 0.2)
        config = named(self.config, name)
        command = [*self.tiny.finetune_command(config, output), "--seed", seed, *ray]
        code, log = None, ""
        for _ in range(self.rng.randint(0, 3)):
            number = self.rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            code, log = self.lemore(name, command, number)
            self.seen[f"{number.name} {code}"] += 1
            if code == 0:  # the signal came after all was done
                break
            if code not in (-9, 143, 130):
                self.problems.append(f"{name}: exit {code}: {log[-500:]}")
        if code != 0:
            code, log = self.lemore(name, command)
        if code:
            return self.problems.append(f"{name}: exit {code}: {log[-500:]}")
        self.seen["trained"] += 1
        self.done[name] = seed
        record = read_json(output / "run.json")
        self.seen["resumed"] += record["resumed_at"] > 0
        if record["weights_sha256"] != self.truths[seed].weights:
            self.problems.append(f"{name}: other weights than without a disturbance")
        if losses(output) != self.truths[seed].losses:
            self.problems.append(f"{name}: other metrics on disk: {losses(output)}")

    def evaluate(self, name: str, seed: int) -> None:
        command, path = evaluation(self.tiny, name)
        if self.rng.random() < 0.3:
            code, _ = self.lemore(name, command, signal.SIGKILL)
            self.seen[f"evaluation SIGKILL {code}"] += 1
            if path.exists() and read_json(path)["confusion"] != self.truths[seed].confusion:
                self.problems.append(f"{name}: a killed evaluation published something else")
        code, log = self.lemore(name, command)
        self.seen["evaluated"] += 1
        if code:
            return self.problems.append(f"{name}: evaluation: exit {code}: {log[-500:]}")
        if read_json(path)["confusion"] != self.truths[seed].confusion:
            self.problems.append(f"{name}: another evaluation than without a disturbance")

    def lemore(
        self, name: str, command: list, number: signal.Signals | None = None
    ) -> tuple[int, str]:
        """Exit code and log, perhaps after a signal at a random moment; the command's own code if
        it has ended by itself before the signal."""
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
                    self.wait(process, name if command[0] == "finetune" else "")
                except subprocess.TimeoutExpired:
                    process.send_signal(number)
            code = process.wait()
        text = log.read_text()
        if ended := ENDED.search(text):
            code = int(ended[1])
        if ended and code == 0 and command[0] == "finetune":
            self.peaks.append(int(ended[2]))
        return code, text

    def wait(self, process: subprocess.Popen, training: str) -> None:
        """Some seconds, mostly from a training's next checkpoint on; TimeoutExpired then."""
        folder = self.tiny.folder / "out" / f"{training}_checkpoints"
        before = newest(folder)
        if not training or self.rng.random() < 0.3:
            process.wait(self.rng.uniform(2, 25))
        while newest(folder) == before and process.poll() is None:
            time.sleep(0.05)
        process.wait(self.rng.uniform(0, 3))


def newest(folder: Path) -> str:
    return max((path.name for path in folder.glob("*/iteration_*.json")), default="")


def named(config: Path, name: str) -> Path:
    """The configuration as that of a pipeline with this name, so that its runs are its own."""
    path = config.with_name(f"{name}.yaml")
    path.write_text(dump(read_yaml(config) | {"run": name}))
    return path


def evaluation(tiny: Tiny, name: str) -> tuple[list[object], Path]:
    """The command that evaluates a training, and the file it writes."""
    path, config = tiny.folder / f"evaluate/{name}.json", tiny.folder / f"evaluate_{name}.yaml"
    settings = {"run": name, "dataset": "tiny", "stands_for": None, "scenes": False}
    recipes = ROOT / "config/recipes/scenes"
    _, test = load_recipe(recipes, "ade20k_scenes", "lemore", {"test": {"img_scale": [112, 80]}})
    config.write_text(dump(settings | {"classes": [], "images": [], "test": test}))
    command = ["evaluate", "--checkpoint", tiny.folder / "out" / name / "weights.pt"]
    command += ["--dataset", "tiny", "--data-dir", tiny.folder / "data", "--threads", "1"]
    return [*command, "--config", config, "--json", path], path


def losses(output: Path) -> Rows:
    rows = MetricsFile(output / "metrics.jsonl").read()
    return [(row["step"], row["metrics"]["train/loss"]) for row in rows]


def undisturbed(tiny: Tiny, config: Path, seed: int) -> Truth:
    output = tiny.finetune(named(config, f"truth{seed}"), f"truth{seed}", "--seed", seed)
    command, path = evaluation(tiny, f"truth{seed}")
    tiny.lemore(*command)
    weights = read_json(output / "run.json")["weights_sha256"]
    return Truth(weights, losses(output), read_json(path)["confusion"])


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


def problems_left(tiny: Tiny, expected: dict[str, Rows]) -> list[str]:
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
    return found + runs_wrong(tiny, expected)


def runs_wrong(tiny: Tiny, expected: dict[str, Rows]) -> list[str]:
    """`expected`: trainings by name and what the store must know of each."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tiny.folder / 'mlflow.db'}"
    client, found = mlflow.connect(), []
    experiments = [e.experiment_id for e in client.search_experiments()]
    stages: dict[str, list[str]] = {name: [] for name in expected}
    for run in client.search_runs(experiments, max_results=5000):
        name, stage = run.data.tags["lemore.run"], run.data.tags["lemore.stage"]
        stages.setdefault(name, []).append(stage)
        if run.info.status != "FINISHED":
            found.append(f"{stage} {name}: {run.info.status} in the store")
        if stage == "finetune":
            history = client.get_metric_history(run.info.run_id, "train/loss")
            if (told := [(m.step, m.value) for m in history]) != expected.get(name):
                found.append(f"{name}: other metrics in the store: {told}")
    wrong = {n: s for n, s in stages.items() if sorted(s) != ["evaluate", "finetune"]}
    return found + [f"{name}: runs in the store: {s}" for name, s in wrong.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    tiny = Tiny(folder)
    config = tiny.finetune_job(
        iterations=ITERATIONS, checkpoint_every=7, validate_every=0, threads=1, loader_workers=0
    )
    truths = [undisturbed(tiny, config, seed) for seed in range(3)]
    assert all([step for step, _ in t.losses] == list(range(10, 61, 10)) for t in truths)
    end, seen = time.monotonic() + 60 * args.minutes, Counter[str]()
    locker = threading.Thread(target=lock_the_store, args=(folder, end, seen), daemon=True)
    lanes = [Lane(number, tiny, config, end, truths) for number in range(LANES)]
    for thread in (locker, *lanes):
        thread.start()
    for lane in lanes:
        lane.join()
    locker.join()
    tiny.lemore("sync")
    problems = [problem for lane in lanes for problem in lane.problems]
    expected = {f"truth{seed}": truth.losses for seed, truth in enumerate(truths)}
    for lane in lanes:
        expected |= {name: truths[seed].losses for name, seed in lane.done.items()}
    deadline = time.monotonic() + 30  # Ray's processes take a moment to leave
    while (left := problems_left(tiny, expected)) and time.monotonic() < deadline:
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
