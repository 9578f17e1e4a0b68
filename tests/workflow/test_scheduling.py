"""Which jobs run at once on made-up GPUs: Snakemake starts stand-ins that note when they run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """
run: made_up
recipes: config/recipes/scenes
recipe_changes: {{train: {{loader_workers: 8}}, pretrain: {{loader_workers: 8}}}}
archives_dir: resources/archives
data_dir: resources/datasets
seeds: [0, 1]
pretrain: imagenet_1k_scenes
init: {{}}
trainings:
  ade20k_scenes: [lemore, topformer_t]
  cityscapes_scenes: [lemore, topformer_t]
profiles: {{lemore: [ade20k], topformer_t: [ade20k]}}
latency_seconds: 1.0
paper_tables: false
comparisons: {{}}
ray: {{mode: local, workers: {workers}, gpus: {gpus}}}
log_model: false
"""
COMMAND = """
import os, sys, time
from pathlib import Path

def main():
    command, options = sys.argv[1], dict(zip(sys.argv[2:], sys.argv[3:]))
    outputs = [options["--json"]] if "--json" in options else []
    if "--output" in options:
        outputs = [Path(options["--output"], name) for name in ("run.json", "weights.pt")]
    name = "/".join(Path(outputs[0]).with_suffix("").parts[3:]).removesuffix("/run")
    note(f"begins {command} {name}")
    time.sleep(1.2 if command in ("pretrain", "finetune") else 0.8)  # longer than a process's end
    for path in outputs:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(name)
    note(f"ends {command} {name}")

def note(text):
    with open(os.environ["EVENTS"], "a") as file:
        file.write(text + "\\n")
"""
CLUSTER = """
def join(cpus): pass
def list_nodes(least): return [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0}, {"CPU": 4.0}]
"""
TRAININGS = ("pretrain", "finetune")


RESULTS = [
    *(
        f"results/made_up/evaluate/{dataset}/{model}/{seed}.json"
        for dataset in ("ade20k_scenes", "cityscapes_scenes")
        for model in ("lemore", "topformer_t")
        for seed in (0, 1)
    ),
    *(f"results/made_up/profile/{model}.json" for model in ("lemore", "topformer_t")),
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the project with its data prepared and its commands replaced."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Snakefile", "pyproject.toml", "config", "lemore", "workflow"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / "lemore/cli.py").write_text(COMMAND)
    (folder / "lemore/runtime/ray/cluster.py").write_text(CLUSTER)
    for dataset in ("imagenet_1k_scenes", "ade20k_scenes", "cityscapes_scenes"):
        digest = folder / f"resources/datasets/{dataset}/digest.json"
        digest.parent.mkdir(parents=True)
        digest.touch()
    with open(folder / "Snakefile", "a") as file:
        file.write(f"\n\nrule results:\n    input: {RESULTS}\n")
    return folder


def write_run(folder: Path, gpus: int, workers: int, share: float) -> None:
    (folder / "torch.py").write_text(f"class cuda:\n    device_count = lambda: {gpus}\n")
    (folder / "run.yaml").write_text(CONFIG.format(workers=workers, gpus=share))


def snakemake(folder: Path, *options: str, **env: str) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
    clean |= {"PYTHONPATH": str(folder), "EVENTS": str(folder / "events")}
    command = [Path(sys.executable).with_name("snakemake"), "results", "--configfile", "run.yaml"]
    done = subprocess.run(
        [*map(str, command), *options], cwd=folder, env=clean | env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def run(folder: Path, gpus: int, *options: str, workers=1, share=1.0, **env: str) -> list[str]:
    """Trains, evaluates and profiles; returns what began and ended, in order."""
    (folder / "events").unlink(missing_ok=True)
    for name in ("pretrain", "finetune", "evaluate", "profile"):
        shutil.rmtree(folder / "results/made_up" / name, ignore_errors=True)
    write_run(folder, gpus, workers, share)
    rules = ("--allowed-rules", *TRAININGS, "evaluate", "profile", "results")
    visible = ",".join(map(str, range(gpus)))
    snakemake(folder, "--cores", "16", *options, *rules, CUDA_VISIBLE_DEVICES=visible, **env)
    events = (folder / "events").read_text().splitlines()
    assert len(events) == 2 * (2 + 8 + 8 + 2)
    return events


def count_at_once(events: list[str]) -> tuple[int, int]:
    """The most trainings, and trainings and evaluations, that ran at once."""
    running: list[str] = []
    trainings, jobs = [0], [0]
    for event in events:
        kind, name = event.split(" ", 1)
        running.append(name) if kind == "begins" else running.remove(name)
        if any(job.startswith("profile") for job in running):
            assert len(running) == 1, running  # it runs alone
        trainings.append(sum(job.startswith(TRAININGS) for job in running))
        jobs.append(len(running))
    return max(trainings), max(jobs)


def count_before_evaluations(events: list[str]) -> int:
    """The most trainings that began after one had ended and before its evaluation began."""
    most = 0
    for end, event in enumerate(events):
        if event.startswith("ends finetune"):
            begin = events.index(event.replace("ends finetune", "begins evaluate"))
            between = events[end:begin]
            most = max(most, sum(e.startswith(("begins f", "begins pre")) for e in between))
    return most


@pytest.mark.parametrize("gpus", [1, 2, 8])
def test_no_more_trainings_than_gpus_and_evaluations_at_once_after_them(checkout, gpus):
    events = run(checkout, gpus)
    assert count_at_once(events) == (gpus, gpus)
    assert count_before_evaluations(events) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gpus", "options", "settings", "slots"),
    [
        (1, (), {"share": 0.5}, 2),
        (4, (), {"workers": 2}, 2),
        (8, ("--resources", "gpu_slots=2"), {}, 2),
        # two nodes with one each
        (0, ("--profile", "profiles/ray"), {"RAY_ADDRESS": "head:6379"}, 2),
    ],
)
def test_where_the_slots_come_from(checkout, gpus, options, settings, slots):
    events = run(checkout, gpus, *options, **settings)
    trainings, _ = count_at_once(events)
    assert trainings == slots and count_before_evaluations(events) <= 1
