"""Measures the overhead of Snakemake and Ray, and the gain of several trainings on a machine."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lemore.cli import run_command
from lemore.config.read import dump, positive, read_yaml
from lemore.runtime.files import write_json
from lemore.runtime.process import OWNER, Process, count_cores, make_cluster_token
from lemore.runtime.progress import show_progress
from lemore.runtime.tracking.metrics_file import MetricsFile

SNAKEFILE = """
from lemore.runtime.process import lead_pipeline
lead_pipeline()
rule finetune:
    output: "OUTPUT/run.json"
    shell: "COMMAND"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="a fine-tuning's configuration")
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset (folder)")
    parser.add_argument("--iterations", type=int, default=100, help="of each training")
    parser.add_argument("--trainings", type=int, default=4, help="at once, of one thread each")
    parser.add_argument("--repeats", type=positive, default=3, help="turns of all ways")
    parser.add_argument("--json", type=Path, help="file for the numbers")


def run(args: argparse.Namespace) -> int:
    seconds: dict[str, list[float]] = {}
    steps: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, Path(folder))
        for turn in show_progress(range(args.repeats), "bench cluster", unit="turn"):
            for way, taken in bench.take_turn(turn, args.trainings).items():
                seconds.setdefault(way, []).append(taken)
            for way in ("plain", "ray"):
                steps.setdefault(way, []).extend(bench.read_steps(f"{way}{turn}"))
    record = {
        "cores": count_cores(),
        "load": os.getloadavg()[1],
        "iterations": args.iterations,
        "repeats": args.repeats,
        "trainings": args.trainings,
        "seconds": {way: statistics.median(taken) for way, taken in seconds.items()},
        "all_seconds": seconds,
        "seconds_per_step": {way: statistics.median(taken) for way, taken in steps.items()},
    }
    print("\n".join(describe(record)))
    if args.json:
        write_json(args.json, record)
    return 0


def describe(record: dict[str, Any]) -> list[str]:
    seconds, steps = record["seconds"], record["seconds_per_step"]
    plain, more = seconds["plain"], ("ray", "snakemake and ray")
    return [
        f"{record['iterations']} iterations with one thread, {record['cores']} cores, load "
        f"{record['load']:.1f}; medians of {record['repeats']}",
        f"in one process                     {plain:8.1f} s",
        *(f"with {name:<30}{seconds[name]:8.1f} s  {seconds[name] - plain:+.1f}" for name in more),
        f"a step: {1000 * steps['plain']:.1f} ms in one process, {1000 * steps['ray']:.1f} ms with "
        f"ray ({steps['ray'] / steps['plain'] - 1:+.1%})",
        f"{record['trainings']} trainings one after another {seconds['one after another']:.1f} s, "
        f"at once through one cluster {seconds['at once']:.1f} s: "
        f"{seconds['one after another'] / seconds['at once']:.2f} times as fast",
    ]


class Bench:
    """Commands that train in a folder of their own, and their times."""

    def __init__(self, args: argparse.Namespace, folder: Path):
        self.folder, self.data = folder, args.data.absolute()
        config = read_yaml(args.config)
        changes = {"iterations": args.iterations, "threads": 1, "loader_workers": 0}
        config["train"] |= changes | {"validate_every": 0, "checkpoint_every": args.iterations}
        self.pipeline = {OWNER: str(Process.find_own())} | make_cluster_token()
        self.config = folder / "config.yaml"
        self.config.write_text(dump(config))

    def take_turn(self, turn: int, trainings: int) -> dict[str, float]:
        """Measures seconds of each way, one after the other."""
        names = [f"{turn}_{number}" for number in range(trainings)]
        return {
            "plain": self.time([self.make_plain(f"plain{turn}")]),
            "ray": self.time([self.make_ray(f"ray{turn}")]),
            "snakemake and ray": self.time([self.make_snakemake(f"whole{turn}")]),
            "one after another": sum(
                self.time([self.make_plain(f"after{name}")]) for name in names
            ),
            "at once": self.time([self.make_ray(f"packed{name}") for name in names], owner=True),
        }

    def make_plain(self, name: str, ray: str = "none") -> list[str]:
        command: list[object] = [sys.executable, "-m", "lemore.cli", "finetune"]
        command += ["--config", self.config, "--data", self.data, "--ray", ray]
        command += ["--output", self.folder / name, "--checkpoints", self.folder / f"{name}_state"]
        return list(map(str, command))

    def make_ray(self, name: str) -> list[str]:
        return self.make_plain(name, "local")

    def make_snakemake(self, name: str) -> list[str]:
        text = SNAKEFILE.replace("OUTPUT", str(self.folder / name))
        text = text.replace("COMMAND", " ".join(self.make_ray(name)))
        (self.folder / "Snakefile").write_text(text)
        return [str(Path(sys.executable).with_name("snakemake")), "--quiet", "--cores", "1"]

    def time(self, commands: list[list[str]], owner: bool = False) -> float:
        """Measures seconds until all of them, started together, are done.

        `owner`: as jobs of one pipeline, which share a cluster.
        """
        env = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{self.folder / 'mlflow.db'}"}
        env |= self.pipeline if owner else {}
        begin = time.monotonic()
        with open(self.folder / "log", "ab") as log:
            started = [
                subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)
                for command in commands
            ]
            codes = [process.wait() for process in started]
        if any(codes):
            raise OSError(f"a training failed: {(self.folder / 'log').read_text()[-2000:]}")
        return time.monotonic() - begin

    def read_steps(self, name: str) -> list[float]:
        """Reads seconds of a step by row of metrics, without the first row."""
        rows = MetricsFile(self.folder / name / "metrics.jsonl").read()[1:]
        return [row["metrics"]["train/seconds_per_iteration"] for row in rows]


if __name__ == "__main__":
    sys.exit(run_command("python benchmarks/cluster.py", sys.modules[__name__], sys.argv[1:]))
