"""Files with the names of classes beside annotations, as `lemore train` reads them."""

from pathlib import Path

import pytest
import yaml

from lemore.cli import main
from tests.own_folders import encode, photo


def find_names(folder: Path, name: str, content: str, most: int = 1) -> list[str]:
    """The classes that are found for YOLO's polygons of the classes 0 and `most`."""
    for number in range(12):
        (folder / f"{number}.jpg").write_bytes(encode(photo(str(number)), "JPEG"))
        polygons = [f"{k} 0.1 0.1 0.9 0.1 0.5 0.9\n" for k in (0, most)]
        (folder / f"{number}.txt").write_text("".join(polygons))
    (folder / name).write_bytes(content.encode())
    project = folder.parent / "project"
    assert main(["train", str(folder), "--output", str(project), "--dry-run"]) == 0
    (path,) = (project / "config/datasets").glob("*.yaml")
    return [row["name"] for row in yaml.safe_load(path.read_text("utf-8"))["classes"]]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("lemore.stages.own.run.call", lambda folder, *command: None)
    (tmp_path / "pond").mkdir()
    return tmp_path / "pond"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "reed\nlily"),
        ("classes.txt", "reed\nlily\n"),
        ("classes.txt", "reed\r\nlily\r\n"),
        ("classes.txt", "\ufeff reed \n lily\t\n\n \n"),
        ("data.yaml", "names: [reed, lily]"),
        ("data.yaml", "\ufeffnames:\r\n  1: lily\r\n  0: reed\r\n"),
    ],
)
def test_names_as_tools_write_them(folder, name, content):
    assert find_names(folder, name, content) == ["reed", "lily", "background"]


def test_names_of_coco_are_all_read(folder):
    names = [f"thing {number}" for number in range(80)]
    found = find_names(folder, "classes.txt", "\n".join(names) + "\n", most=79)
    assert found == [*names, "background"]


@pytest.mark.parametrize("content", ["", "\n\n", "only one\n"])
def test_too_few_names_are_left_aside(folder, content):
    assert find_names(folder, "classes.txt", content) == ["class 0", "class 1", "background"]
