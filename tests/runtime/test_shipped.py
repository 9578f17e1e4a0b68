"""Where a command finds configurations and published models away from the clone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lemore.cli import main
from lemore.config.model import ModelConfig
from lemore.config.read import load, read_yaml
from lemore.runtime import shipped
from lemore.runtime.shipped import CONFIG
from lemore.trained.find import find_checkpoint

ROOT = Path(__file__).parents[2]


def test_a_file_here_takes_the_place_of_the_packages_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("config/models/lemore.yaml")
    own = load(ModelConfig, path)
    path.parent.mkdir(parents=True)
    path.write_text((ROOT / path).read_text().replace(f"label: {own.label}", "label: Mine"))
    assert load(ModelConfig, path).label == "Mine"
    (path.parent / "mine.yaml").touch()
    assert {"mine", "lemore", "topformer_t"} <= set(shipped.list_names("config/models"))


def test_no_other_path_is_looked_for_in_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no such file"):
        read_yaml("pyproject.toml")
    with pytest.raises(ValueError, match=r"did you mean 'lemore\.yaml'"):
        read_yaml("config/models/lemor.yaml")


def test_a_published_model_is_found_by_its_name_anywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "package/weights"
    (weights / "lemore-camvid").mkdir(parents=True)
    (weights / "lemore-camvid/config.json").touch()
    monkeypatch.setattr(shipped, "WEIGHTS", weights)
    assert find_checkpoint("lemore-camvid") == weights / "lemore-camvid"
    with pytest.raises(ValueError, match="did you mean 'lemore-camvid'"):
        find_checkpoint("lemore-canvid")
    shutil.rmtree(weights)
    with pytest.raises(ValueError, match="nothing is trained"):
        find_checkpoint("lemore-camvid")


def test_a_project_folder_runs_the_workflow(tmp_path):
    assert main(["init", str(tmp_path / "streets")]) == 0
    for config, rules in (("config", "finetune"), ("camvid", "prepare")):
        command = ["snakemake", "-n", "--nocolor", "--configfile", f"config/{config}.yaml"]
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path / "streets",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and f"rule {rules}:" in done.stdout, done.stderr
    table = "labels/camvid.csv"  # an installation may move the package's own
    assert (tmp_path / "streets/resources" / table).read_text() == (CONFIG / table).read_text()


def test_a_project_folder_is_not_laid_over_another(tmp_path, capsys):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("run: mine\n")
    assert main(["init", str(tmp_path)]) == 2
    assert "config.yaml: is there already" in capsys.readouterr().err
    assert not (tmp_path / "Snakefile").exists()
