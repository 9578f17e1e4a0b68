"""The doctor names each fault and its remedy, and returns 0 where there is none."""

import json
from importlib import metadata

import pytest

from lemore.cli import main


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


def findings(capsys, *options: str) -> tuple[int, dict[str, dict]]:
    code = main(["doctor", "--json", *options])
    return code, {found["about"]: found for found in json.loads(capsys.readouterr().out)}


def test_a_sound_machine(capsys, tmp_path):
    code, found = findings(capsys, "--folder", str(tmp_path))
    assert code == 0 and found["packages"]["level"] == found["torch"]["level"] == "ok"
    assert metadata.version("torch") in found["torch"]["text"]


def test_a_folder_that_cannot_be_written(capsys):
    code, found = findings(capsys, "--folder", "/proc")
    assert code == 1 and found["folder"]["level"] == "error" and "/proc" in found["folder"]["text"]


def test_a_cluster_that_does_not_answer(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    code, found = findings(capsys, "--folder", str(tmp_path))
    assert code == 1 and "127.0.0.1:1" in found["Ray"]["text"] and found["Ray"]["remedy"]


def test_a_lock_left_by_a_kill(capsys, tmp_path):
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.output.lock").touch()
    code, found = findings(capsys, "--folder", str(tmp_path))
    assert code == 0 and found["Snakemake"]["level"] == "warning"
    assert "--unlock" in found["Snakemake"]["remedy"]


def test_a_missing_package_ends_the_examination(capsys, monkeypatch, tmp_path):
    def version(name: str) -> str:
        if name == "torchvision":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    code, found = findings(capsys, "--folder", str(tmp_path))
    assert code == 1 and set(found) == {"packages"}
    assert "torchvision" in found["packages"]["text"]
    assert found["packages"]["remedy"] == "make setup"
