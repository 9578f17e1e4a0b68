"""What `snakemake` does in a project that is laid out, when jobs fail or are killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lemore.cli import main
from tests.conftest import ROOT

RULES = """

rule halves:
    output:
        "first.txt",
        "second.txt",
    shell:
        "touch first.txt; test -f again || {{ touch again; sleep 600; }}; touch second.txt"


rule failing:
    output:
        "never.txt",
    log:
        "failing.log",
    shell:
        "echo the pond is dry > {log}; false"
"""


@pytest.fixture
def project(tmp_path) -> Path:
    folder = tmp_path / "project"
    assert main(["init", str(folder)]) == 0
    with open(folder / "Snakefile", "a") as file:
        file.write(RULES)
    return folder


def start(project: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("snakemake")), "--cores", "1", *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(project: Path, *arguments: str) -> tuple[int, str]:
    process = start(project, *arguments)
    words, _ = process.communicate(timeout=120)
    return process.returncode, words


def test_a_job_killed_between_its_outputs_runs_again(project):
    process = start(project, "first.txt")
    for _ in range(1200):
        if (project / "first.txt").exists():
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert run(project, "--unlock")[0] == 0
    code, words = run(project, "first.txt")
    assert code == 0 and (project / "second.txt").exists(), words


@pytest.mark.parametrize("quiet", [(), ("--quiet", "rules", "reason")])
def test_the_reason_of_a_failure_is_shown(project, quiet):
    code, words = run(project, *quiet, "--", "never.txt")
    assert code == 1 and "the pond is dry" in words
