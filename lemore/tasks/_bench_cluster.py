"""What Snakemake and Ray cost a training, and what it gains to pack several on one machine."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lemore.config import dump, read_yaml
from lemore.files import write_json
from lemore.machine import Process, cores
from lemore.training.process import OWNER
from lemore.training.spool import Spool

SNAKEFILE = """
from lemore.training.process import lead_pipeline
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
    parser.add_argument("--json", type=Path, help="file for the numbers")


def run(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, Path(folder))
        plain, under_ray = bench.timed([bench.plain("plain")]), bench.timed([bench.ray("ray")])
        whole = bench.timed([bench.snakemake("whole")])
        names = [str(i) for i in range(args.trainings)]
        after = sum(bench.timed([bench.plain(f"plain_{name}")]) for name in names)
        at_once = bench.timed([bench.ray(f"packed_{name}") for name in names], owner=True)
        steps = {name: bench.seconds_per_step(name) for name in ("plain", "ray")}
    record = {
        "cores": cores(),
        "iterations": args.iterations,
        "seconds": {"plain": plain, "ray": under_ray, "snakemake and ray": whole},
        "seconds_per_step": steps,
        "trainings": args.trainings,
        "one_after_another": after,
        "at_once": at_once,
    }
    print("\n".join(lines(record)))
    if args.json:
        write_json(args.json, record)
    return 0


def lines(record: dict[str, Any]) -> list[str]:
    seconds, steps = record["seconds"], record["seconds_per_step"]
    plain, more = seconds["plain"], ("ray", "snakemake and ray")
    return [
        f"{record['iterations']} iterations with one thread, {record['cores']} cores",
        f"in one process                     {plain:8.1f} s",
        *(f"with {name:<30}{seconds[name]:8.1f} s  {seconds[name] - plain:+.1f}" for name in more),
        f"a step: {1000 * steps['plain']:.1f} ms in one process, {1000 * steps['ray']:.1f} ms with "
        f"ray ({steps['ray'] / steps['plain'] - 1:+.1%})",
        f"{record['trainings']} trainings one after another {record['one_after_another']:.1f} s, "
        f"at once through one cluster {record['at_once']:.1f} s: "
        f"{record['one_after_another'] / record['at_once']:.2f} times as fast",
    ]


class Bench:
    """Commands that train in a folder of their own, and what they took."""

    def __init__(self, args: argparse.Namespace, folder: Path):
        self.folder, self.data = folder, args.data.absolute()
        config = read_yaml(args.config)
        changes = {"iterations": args.iterations, "threads": 1, "loader_workers": 0}
        config["train"] |= changes | {"validate_every": 0, "checkpoint_every": args.iterations}
        self.config = folder / "config.yaml"
        self.config.write_text(dump(config))

    def plain(self, name: str, ray: str = "none") -> list[str]:
        command: list[object] = [sys.executable, "-m", "lemore.cli", "finetune"]
        command += ["--config", self.config, "--data", self.data, "--ray", ray]
        command += ["--output", self.folder / name, "--checkpoints", self.folder / f"{name}_state"]
        return list(map(str, command))

    def ray(self, name: str) -> list[str]:
        return self.plain(name, "local")

    def snakemake(self, name: str) -> list[str]:
        text = SNAKEFILE.replace("OUTPUT", str(self.folder / name))
        text = text.replace("COMMAND", " ".join(self.ray(name)))
        (self.folder / "Snakefile").write_text(text)
        return [str(Path(sys.executable).with_name("snakemake")), "--quiet", "--cores", "1"]

    def timed(self, commands: list[list[str]], owner: bool = False) -> float:
        """Seconds until all of them, started together, are done.

        `owner`: as jobs of one pipeline, which share a cluster.
        """
        env = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{self.folder / 'mlflow.db'}"}
        env |= {OWNER: str(Process.own())} if owner else {}
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

    def seconds_per_step(self, name: str) -> float:
        """Median over the rows of metrics, the first left out."""
        rows = Spool(self.folder / name / "metrics.jsonl").rows()[1:]
        return statistics.median(row["metrics"]["train/seconds_per_iteration"] for row in rows)
