"""Each common mistake of users gets one line that names it, and exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lemore.cli import main
from lemore.config.experiment import Experiment

ROOT = Path(__file__).parents[2]
TRAINING = "--data nowhere --output o --checkpoints c"

COMMANDS = {
    "": "usage: lemore <command>",
    "trian": "no command 'trian'; did you mean 'train'?",
    "train": "name the data: one folder or YAML, or both --images and --masks",
    "train nowhere": "nowhere: no such folder",
    "train --images . --masks . --model lemroe": "no model 'lemroe'; did you mean 'lemore'?",
    "init .": "is there already; choose another folder",
    "finetune": "the following arguments are required: --config",
    "profile --json x.json": "--model: name a file of config/models",
    "profile --model lemroe --json x.json": "did you mean 'lemore.yaml'?",
    "profile --model lemore --size 0 0 --json x.json": "--size: '0', expected a whole number",
    "profile --model lemore --num-classes 0 --json x.json": "--num-classes: '0', expected a whole",
    "profile --model lemore --threads 0 --json x.json": "--threads: '0', expected a whole number",
    "profile --config broken.yaml --json x.json": "broken.yaml: not valid YAML",
    "profile --config list.json --json x.json": "list.json: expected 'key: value' lines",
    "evaluate --checkpoint no.pt --dataset d --json x.json": "no.pt: no such file",
    "evaluate --checkpoint text.pt --dataset d --json x.json": "text.pt: not a readable checkpoint",
    "evaluate --checkpoint . --dataset d --json x.json": "holds neither config.json",
    "evaluate --checkpoint a --dataset d --threads 0 --json x.json": "--threads: '0'",
    f"finetune --config broken.yaml {TRAINING}": "broken.yaml: not valid YAML",
    f"finetune --config other.yaml {TRAINING}": "other.yaml: no 'run' in it",
    f"pretrain --config other.yaml {TRAINING}": "other.yaml: no 'run' in it",
    f"finetune --config other.yaml {TRAINING} --workers 0": "--workers: '0', expected a whole",
    "fetch --dataset-config config/datasets/ade20kk.yaml --archives-dir a --output f.json": (
        "ade20kk.yaml: no such file; did you mean 'ade20k.yaml'?"
    ),
    "fetch --dataset-config config/models/lemore.yaml --archives-dir a --output f.json": (
        "unknown key 'label'; did you mean 'labels'?"
    ),
    "prepare --dataset-config config/datasets/ade20k.yaml --fetched no.json --output p": (
        "no.json: no such file"
    ),
    "prepare --dataset-config config/datasets/ade20k.yaml --fetched list.json --output p": (
        "list.json: not written by `lemore fetch`"
    ),
    "prepare --dataset-config config/datasets/ade20k.yaml --fetched a --output p --workers 0": (
        "--workers: '0', expected a whole number"
    ),
    "scenes --dataset-config config/datasets/ade20k.yaml --output s": "scenes is null",
    "score --predictions no --labels no --num-classes 3 --ignore-index 255 --json x.json": (
        "no: no such folder"
    ),
    "score --predictions . --labels . --num-classes 3 --json x.json": "needs --ignore-index",
    "score --predictions . --labels . --dataset nosuch --json x.json": "no dataset 'nosuch'",
    "browse --data nowhere --output x.png": "nowhere/digest.json: no such file",
    "browse --data nowhere --output x.jpg": "x.jpg should end in .png",
    "table nosuch --run x --output t": "table 'nosuch' is neither one of ade20k",
    "table ade20k --run x --evaluations list.json --output t": "expected a result of stage",
    "report --run x --dataset-titles abc --output r.html": "'abc' is not NAME=TITLE",
    "import-weights --from mmseg --model nosuch text.pt --output o.pt": "nosuch.yaml: no such file",
    "import-weights --from mmseg --model topformer_t text.pt --output o.pt": "text.pt: not a",
    "import-weights --from hf --model topformer_t text.pt --output o.pt": "has no layout 'hf'",
    "audit --data nowhere --output a.html": "nowhere/audit.json: no such file",
    "predict --checkpoint no.pt --output p photo.jpg": "no.pt: no such file",
    "predict --checkpoint a --output p --device gpu x": "--device: invalid choice: 'gpu'",
    "export --checkpoint no.pt --format onnx --output m.onnx": "no.pt: no such file",
    "share --checkpoint no.pt --output s": "no.pt: no such file",
}

CONFIGURATIONS = {
    "unknown key 'trainigs'; did you mean 'trainings'?": {"trainigs": {}},
    "models/lemroe.yaml: no such file; did you mean 'lemore.yaml'?": {
        "trainings": {"camvid": ["lemroe"]}
    },
    "camvidd": {"trainings": {"camvidd": ["lemore"]}},
    "seeds is 'a'": {"seeds": "a"},
    "unknown key 'recipe_changes.train.itterations'": {
        "recipe_changes": {"train": {"itterations": 3}}
    },
    "train.lr is 'fast', expected a number": {"recipe_changes": {"train": {"lr": "fast"}}},
    "ray.mode is 'remote', expected one of local, none": {
        "ray": {"mode": "remote", "workers": 1, "gpus": 0}
    },
    "pretrain is empty, but backbone 'lemore' wants": {"init": {}},
    "comparisons.camvid.models names 'lemroe'": {
        "comparisons": {"camvid": {"images": ["a"], "models": ["lemroe"]}}
    },
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    (tmp_path / "other.yaml").write_text("a: 1\ninit: none\n")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "text.pt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command(command, folder, capsys):
    try:
        code = main(command.split())
    except SystemExit as stopped:  # argparse's own mistakes
        code = stopped.code
    shown = capsys.readouterr()
    said = " ".join((shown.err + shown.out).split())
    assert code == 2 and COMMANDS[command] in said, said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["--help", "--version", "train --help", "init streets"])
def test_a_reader_that_has_gone_ends_a_command_without_a_trace(command, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    read, write = os.pipe()
    os.close(read)
    program = [sys.executable, "-m", "lemore.cli", *command.split()]
    done = subprocess.run(program, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("words", CONFIGURATIONS)
def test_a_configuration(words):
    values = yaml.safe_load((ROOT / "config/camvid.yaml").read_text())
    with pytest.raises(ValueError) as mistake:
        Experiment(values | CONFIGURATIONS[words], ROOT)
    assert words in str(mistake.value), mistake.value
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize(
    ("task", "spins"), [("evaluate", "3000"), ("deploy", "3000"), ("profile", None)]
)
def test_threads_that_wait_leave_the_cores_to_others(task, spins, monkeypatch, capsys):
    """Where threads that read and measure work beside torch's, and not where time is measured."""
    monkeypatch.setenv("GOMP_SPINCOUNT", "")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    with pytest.raises(SystemExit):
        main([task, "--help"])
    assert os.environ.get("GOMP_SPINCOUNT") == spins
