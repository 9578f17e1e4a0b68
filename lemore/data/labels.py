"""Label tables: raw value in the annotation -> train id, name, display colour. Torch-free."""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

from lemore.config import did_you_mean

FOLDER = Path(__file__).parent / "labels"
IGNORE = 255


@dataclass(frozen=True)
class LabelTable:
    """The rows of a table (`ids`, `train_ids`: one per row, 255 = ignored) and its K classes.

    `names` and `colors` (R, G, B in 0..255, for display only) are indexed by train id.
    A raw value without a row is undeclared: prepare refuses it.
    """

    ids: tuple[int, ...]
    train_ids: tuple[int, ...]
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    @property
    def lut(self) -> list[int]:
        """256 train ids by raw value; 255 for ignored and for undeclared values."""
        table = dict(zip(self.ids, self.train_ids, strict=True))
        return [table.get(value, IGNORE) for value in range(256)]

    @property
    def raw_ids(self) -> list[int]:
        """The K raw values by train id: the way back, for files that a benchmark server takes."""
        table = dict(zip(self.train_ids, self.ids, strict=True))
        return [table[train_id] for train_id in range(len(self.names))]


@functools.cache
def load(name: str) -> LabelTable:
    """The table lemore/data/labels/<name>.csv; ValueError if there is none or it has a gap."""
    path = _path(name)
    rows = _rows(path)
    classes = {int(row["train_id"]): row for row in rows if int(row["train_id"]) != IGNORE}
    if sorted(classes) != list(range(len(classes))):
        raise ValueError(f"{path}: train_id must run 0..K-1 without gaps")
    ordered = [classes[k] for k in range(len(classes))]
    return LabelTable(
        ids=tuple(int(row["id"]) for row in rows),
        train_ids=tuple(int(row["train_id"]) for row in rows),
        names=tuple(row["name"] for row in ordered),
        colors=tuple((int(row["r"]), int(row["g"]), int(row["b"])) for row in ordered),
    )


def raw_ids_by_name(name: str) -> dict[str, int]:
    """Raw value of every row of a table, ignored ones too."""
    return {row["name"]: int(row["id"]) for row in _rows(_path(name))}


def _path(name: str) -> Path:
    path = FOLDER / f"{name}.csv"
    if not path.is_file():
        known = [p.stem for p in FOLDER.glob("*.csv")]
        raise ValueError(f"no label table '{name}'{did_you_mean(name, known)}")
    return path


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
