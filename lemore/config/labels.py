"""Label tables: raw value in the annotation -> train id, name, display colour. Torch-free."""

import colorsys
import csv
import functools
from dataclasses import dataclass
from pathlib import Path

from lemore.config.dataset import DatasetConfig
from lemore.config.read import did_you_mean
from lemore.runtime.files import decode_text
from lemore.runtime.shipped import find_file

FOLDER = Path("config/labels")
IGNORE = 255  # train id of pixels that are in no class


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

    @functools.cached_property
    def lut(self) -> list[int]:
        """256 train ids by raw value; 255 for ignored and for undeclared values."""
        table = dict(zip(self.ids, self.train_ids, strict=True))
        return [table.get(value, IGNORE) for value in range(256)]

    @property
    def raw_ids(self) -> list[int]:
        """The K raw values by train id, for files that a benchmark server takes."""
        table = dict(zip(self.train_ids, self.ids, strict=True))
        return [table[train_id] for train_id in range(len(self.names))]


@functools.cache
def load(name: str) -> LabelTable:
    """Reads config/labels/<name>.csv; ValueError if there is none or it has a gap."""
    rows = _read_rows(name)
    classes = {int(row["train_id"]): row for row in rows if int(row["train_id"]) != IGNORE}
    if sorted(classes) != list(range(len(classes))):
        raise ValueError(f"{FOLDER}/{name}.csv: train_id must run 0..K-1 without gaps")
    ordered = [classes[k] for k in range(len(classes))]
    return LabelTable(
        ids=tuple(int(row["id"]) for row in rows),
        train_ids=tuple(int(row["train_id"]) for row in rows),
        names=tuple(row["name"] for row in ordered),
        colors=tuple((int(row["r"]), int(row["g"]), int(row["b"])) for row in ordered),
    )


def load_raw_ids(name: str) -> dict[str, int]:
    """Returns the raw value of every row of a table by name, ignored ones included."""
    return {row["name"]: int(row["id"]) for row in _read_rows(name)}


def find_table_file(name: str) -> Path:
    return find_file(FOLDER / f"{name}.csv")


def _read_rows(name: str) -> list[dict[str, str]]:
    path = find_table_file(name)
    if not path.is_file():
        known = [file.stem for file in path.parent.glob("*.csv")]
        raise ValueError(f"no label table '{name}'{did_you_mean(name, known)}")
    text = decode_text(path.read_bytes(), path)
    return list(csv.DictReader(text.splitlines()))


def find_table(config: DatasetConfig) -> LabelTable:
    """Returns a dataset's table: that of its file, or the one that its YAML describes.

    Index masks keep their values; all others are read as train ids, or 255.
    """
    if config.labels is not None:
        return load(config.labels)
    assert config.files is not None
    if config.files.mask == "index":
        rows = [(v, k) for k, row in enumerate(config.classes) for v in row.values or (k,)]
        rows += [(value, IGNORE) for value in config.files.ignore if isinstance(value, int)]
    else:
        rows = [(k, k) for k in (*range(len(config.classes)), IGNORE)]
    raw = [value for value, _ in rows]
    if len(set(raw)) != len(raw) or not set(raw) <= set(range(256)):
        raise ValueError("classes: every raw value of a mask must be 0 to 255 and occur once")
    return LabelTable(
        ids=tuple(raw),
        train_ids=tuple(train_id for _, train_id in rows),
        names=tuple(row.name for row in config.classes),
        colors=tuple(row.color or choose_color(k) for k, row in enumerate(config.classes)),
    )


def choose_color(k: int) -> tuple[int, int, int]:
    """Returns a display colour for class k: hues by the golden ratio, two levels of brightness."""
    red, green, blue = colorsys.hsv_to_rgb((0.58 + k * 0.618034) % 1, 0.65, (0.9, 0.65)[k % 2])
    return round(255 * red), round(255 * green), round(255 * blue)
