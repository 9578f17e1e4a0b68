"""`lemore train` in the working folder, without what it would run, and the data that it reads."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lemore.cli import main
from lemore.stages.own import run as own_run
from tests.own_folders import encode, photo

PHOTOS = 12


def record_calls(folder: Path, monkeypatch) -> list[tuple]:
    """Enters the folder; nothing is run from then on. Returns the programs called since."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(own_run, "has_gpu", lambda: False)
    made: list[tuple] = []
    monkeypatch.setattr(own_run, "call", lambda folder, *command: made.append(command))
    return made


def put(path: str, content: bytes | str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())


def put_photos(
    pattern: str = "data/photos/{}.jpg", count: int = PHOTOS, kind: str = "JPEG"
) -> None:
    for number in range(count):
        put(pattern.format(number), encode(photo(str(number)), kind))


def put_masks(pattern: str, mask: np.ndarray, kind: str = "PNG", count: int = PHOTOS) -> None:
    for number in range(count):
        put(pattern.format(number), encode(mask, kind))


def put_boxes(path: str, count: int = PHOTOS, names: Sequence[str] = ("lily", "reed")) -> None:
    """A JSON of COCO's form, as tools export boxes alone: one on each of 0.jpg, 1.jpg, ..."""
    boxes = [
        {"id": n + 1, "image_id": n, "category_id": 5 + n % len(names), "bbox": [n, 2, 9, 8],
         "area": 72, "iscrowd": 0, "segmentation": []}
        for n in range(count)
    ]  # fmt: skip
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(count)],
        "categories": [{"id": 5 + k, "name": name} for k, name in enumerate(names)],
        "annotations": boxes,
    }
    put(path, json.dumps(content))


def find(*arguments: str) -> dict[str, Any]:
    """The dataset's YAML that the command writes."""
    assert main(["train", *arguments, "--output", "project", "--dry-run"]) == 0
    (path,) = Path("project/config/datasets").glob("*.yaml")
    return yaml.safe_load(path.read_text("utf-8"))


def read_run() -> dict[str, Any]:
    """The run's file that the command has written."""
    return yaml.safe_load(Path("project/config/config.yaml").read_text("utf-8"))


def refuse(capsys, *arguments: str) -> str:
    assert main(["train", *arguments, "--output", "project"]) == 2
    assert not Path("project").exists()
    return capsys.readouterr().err
