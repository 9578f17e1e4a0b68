"""Commands of README and docs, as written and in the documents' order, in a copy of the project.

A block of commands that begins with "```bash plan" runs dry, since it needs a GPU, an account or
hours; one that begins with "```bash elsewhere" cannot run here. Those that need no clone also run
from a wheel, in a project folder elsewhere.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import formula_weights
import pytest
import yaml
from safetensors.torch import save_file

from lemore.config import labels
from lemore.runtime.files import read_json, write_json
from tests.own_folders import put_ponds
from tests.small_coco import write_detector
from tests.trained_models import clip, make_photo, save

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# These run the tests, and so this one.
TESTS = ("make test", "make check", "make test-slow")
OF_A_CLONE = ("make ", "python ")  # how a command begins that needs one
IN_THE_PACKAGE = "summed_b0"  # a model whose code is added to the package


def read_blocks(path: Path) -> list[tuple[str, str]]:
    """(mark, text) of a document's bash blocks."""
    return re.findall(r"^```bash *(.*)\n((?:.*\n)*?)```", path.read_text(), re.M)


def read_commands() -> list[str]:
    """The commands that run here, in the documents' order, each once.

    Lines are joined, comments at their end are left out, and those marked `plan` are dry runs.
    """
    found = []
    for path in DOCUMENTS:
        for mark, block in read_blocks(path):
            lines = re.sub(r"\\\n\s*", "", block).splitlines() if mark != "elsewhere" else []
            commands = [re.sub(r"(^|\s)#\s.*", "", line).strip() for line in lines]
            found += [f"{c} -n --quiet" if mark == "plan" else c for c in commands if c]
    return [command for command in dict.fromkeys(found) if command not in TESTS]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_blocks_of_commands_are_marked_by_words_that_mean_something(path):
    assert {mark for mark, _ in read_blocks(path)} <= {"", "plan", "elsewhere"}


def test_the_walk_begins_with_the_readme():
    commands = read_commands()
    assert commands[0] == "make reproduce"
    assert any(command.startswith("lemore export") for command in commands)
    assert "snakemake search --cores 2 --configfile config/mine.yaml -n --quiet" in commands


@pytest.mark.slow
def test_a_walk_through_the_documentation(tmp_path, samples):
    project = copy_of_the_project(tmp_path / "lemore", samples)
    assert not (project / "results").exists()
    walk(read_commands(), project, project, project / ".venv/bin")
    for made in ("results/scenes/report.html", "results/camvid/report.html", "out/overlay",
                 "labels.png", "lemore-scenes", "int8.onnx", "segformer_b0.json"):  # fmt: skip
        assert (project / made).exists(), made


@pytest.mark.slow
def test_the_same_walk_from_a_wheel_away_from_the_clone(tmp_path, samples):
    package, project = install_wheel(tmp_path), tmp_path / "project"
    walk(["lemore init project", "lemore doctor"], tmp_path, package, package / "bin")
    put_examples(project, samples)
    commands = [c for c in read_commands() if not c.startswith(OF_A_CLONE)]
    commands = [command for command in commands if IN_THE_PACKAGE not in command]
    walk(["snakemake --cores 2", *commands], project, package, package / "bin")
    for made in ("results/scenes/report.html", "results/camvid/report.html", "lemore-scenes"):
        assert (project / made).exists(), made


def walk(commands: list[str], folder: Path, package: Path, programs: Path) -> None:
    """Runs commands one after the other in a folder, with lemore from `package`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
    environment |= {"PYTHONPATH": str(package), "CORES": "2"}
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    for number, command in enumerate(commands):
        done = subprocess.run(
            ["bash", "-ec", served(command)],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=1800,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if number == 0 and (folder / "resources/datasets").exists():
            as_ade20k(folder / "resources/datasets")
            put_detector(folder / "results/scenes")


def install_wheel(folder: Path) -> Path:
    """Builds a wheel of what git knows and installs it into a folder, without its dependencies."""
    source, package = folder / "source", folder / "package"
    copy_from_git(source)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source]
    subprocess.run(build, check=True)
    shutil.rmtree(source)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", package, wheel], check=True)
    return package


def served(command: str) -> str:
    """A command that serves pages is asked for one and ended."""
    if not command.startswith("mlflow ui"):
        return command
    ask = "curl --fail --silent --retry 60 --retry-connrefused --retry-delay 1"
    return f"{command} --port 5123 & {ask} http://127.0.0.1:5123/ | grep MLflow; kill %1"


def copy_of_the_project(folder: Path, samples: Path) -> Path:
    """What git knows, with trainings of few iterations, and what the commands' examples name."""
    copy_from_git(folder)
    install(folder)
    put_examples(folder, samples)
    pages = (folder / "docs/add_model.md").read_text()
    for kind, path in (
        ("python", "lemore/models/decode_heads/summed.py"),
        ("yaml", "config/models/summed_b0.yaml"),
    ):
        assert f"`{path}`" in pages
        block = re.search(rf"```{kind}\n(.*?)```", pages, re.S)
        assert block is not None
        (folder / path).write_text(block[1])
    return folder


def copy_from_git(folder: Path) -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def put_examples(folder: Path, samples: Path) -> None:
    """Shortens the runs, and puts what the commands' examples name into a folder."""
    shorten(folder / "config/config.yaml", "ade20k_scenes")
    shorten(folder / "config/camvid.yaml", "camvid")
    shutil.copy(folder / "config/camvid.yaml", folder / "config/mine.yaml")
    (folder / "resources/archives").mkdir(parents=True)
    (folder / "resources/archives/camvid").symlink_to(samples / "camvid")
    save(folder / "street.jpg", make_photo(1))
    save(folder / "photos/sub/a b.jpg", make_photo(2))
    clip(folder / "drive.mp4")
    for number in range(12):
        save(folder / f"pond/photos/{number}.jpg", make_photo(number))
        save(folder / f"pond/masks/{number}.png", make_photo(number) // 128 * 200)
    put_ponds(folder)
    label = make_photo(3)[..., 0] // 24
    save(folder / "DIR/a.png", label)
    save_file(formula_weights.make_full_size(150, "segformer_b0_hf"), folder / "model.safetensors")


def put_detector(results: Path) -> None:
    """Puts a trained detector of the default into a run's results, which is too long to train."""
    path = results / "finetune/coco_scenes/retinanet_lemore/0/weights.pt"
    write_detector(path, "coco_scenes", [*labels.load("coco").names], "retinanet_lemore")


def install(folder: Path) -> None:
    """`.venv` is the environment that runs the tests."""
    shown = subprocess.run(
        "cat requirements.lock pyproject.toml | sha256sum | cut -c1-16",
        cwd=folder, shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (folder / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if not path.name.startswith(".lemore-"):
            (folder / ".venv" / path.name).symlink_to(path)
    (folder / f".venv/.lemore-{shown.stdout.strip()}").touch()


def shorten(path: Path, dataset: str) -> None:
    """One training of a few iterations."""
    config = yaml.safe_load(path.read_text())
    few = {"iterations": 4, "warmup_iterations": 1, "crop_size": [128, 128], "batch_size": 2}
    config |= {
        "trainings": {dataset: ["lemore"]},
        "profiles": {"lemore": [dataset.removesuffix("_scenes")]},
        "pretrain": None,
        "init": {"lemore": "none"},
        "comparisons": {},
        "recipe_changes": {"train": few},
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def as_ade20k(datasets: Path) -> None:
    """The drawn scenes as ADE20K itself, which is a large download."""
    shutil.copytree(datasets / "ade20k_scenes", datasets / "ade20k")
    digest = read_json(datasets / "ade20k/digest.json")
    write_json(datasets / "ade20k/digest.json", digest | {"dataset": "ade20k"})
