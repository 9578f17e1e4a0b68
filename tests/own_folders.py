"""Small datasets in folders, made as users have them, and what `lemore prepare` says of them."""

import io
import logging
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from lemore.cli import main
from lemore.data.store import Store

ROOT = Path(__file__).parents[1]
SIZE = (24, 32)
SPLITS = ("train", "val")
INDEX = {"images": "{split}/img/{name}.png", "masks": "{split}/mask/{name}.png", "mask": "index"}
BINARY = INDEX | {"mask": "binary", "threshold": 127}
COLOR = INDEX | {"mask": "color"}
LISTS = {
    "images": "img/{name}.png", "masks": "mask/{name}.png", "mask": "index",
    "lists": {"train": "train.txt", "val": "val.txt"},
}  # fmt: skip
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
CLASSES = [{"name": "ground", "color": [0, 0, 0]}, {"name": "thing", "color": [255, 255, 255]}]


def photo(seed: str) -> np.ndarray:
    """A smooth photo without symmetry, H x W x 3 uint8, another for every seed."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    picture = np.stack([x * 6, y * 8, 230 - x * 3 - y * 3], 2)
    picture[:8, :8] += np.random.default_rng(list(seed.encode())).integers(0, 26, 3)
    return picture.astype(np.uint8)


def label() -> np.ndarray:
    """H x W uint8 of the classes 0 and 1, without symmetry."""
    marked = np.zeros(SIZE, np.uint8)
    marked[2:9, 3:14] = 1
    return marked


def encode(pixels: np.ndarray, kind: str = "PNG", orientation: int = 1, **options: Any) -> bytes:
    """The bytes of an image file, with an EXIF orientation if that is not 1."""
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    if orientation != 1:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def put_ponds(folder: Path) -> None:
    """What docs/own_dataset.md describes: its two files below config/, the photos in ponds/."""
    text = (ROOT / "docs/own_dataset.md").read_text()
    dataset, _of_boxes, run = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert "/data/ponds" in dataset
    dataset = dataset.replace("/data/ponds", str(folder / "ponds"))
    (folder / "config/datasets").mkdir(exist_ok=True)
    (folder / "config/datasets/ponds.yaml").write_text(dataset)
    (folder / "config/ponds.yaml").write_text(run)
    names = {"train": [f"IMG {i:04d} (2)" for i in range(10)], "test": ["Süßwasser 3", "4 ü"]}
    for split, stems in names.items():
        (folder / f"ponds/{split}").mkdir(parents=True)
        for stem in stems:
            image, mask = make_pond(stem)
            (folder / f"ponds/{split}/{stem}.JPG").write_bytes(encode(image, "JPEG"))
            (folder / f"ponds/{split}/{stem}_L.png").write_bytes(encode(mask))


def make_pond(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A photo 120 x 160 of two banks with water between, and its mask in colours."""
    rng = np.random.default_rng(sum(name.encode()))
    label = np.full((120, 160), 2)
    left = int(rng.integers(20, 60))
    label[:, left : left + 70] = 0
    label[40:80, left + 10 : left + 30] = 1
    mask = np.array([[30, 60, 200], [40, 160, 40], [120, 80, 30]], np.uint8)[label]
    image = np.clip(mask + rng.normal(0, 20, mask.shape), 0, 255).astype(np.uint8)
    mask[:3] = 255
    return image, mask


@dataclass
class Own:
    """A dataset below `folder`/data, described by `files` and `changes` to its YAML."""

    folder: Path
    files: dict[str, Any] = field(default_factory=lambda: dict(INDEX))
    changes: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ("a", "b")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def put(self, path: str, content: bytes | str) -> None:
        file = self.data / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def fill(self, make_photo=lambda seed: encode(photo(seed)), make_mask=lambda: encode(label())):
        """Writes an image and a mask for every name and split, as the patterns say."""
        for split in SPLITS:
            for name in self.names:
                for pattern, content in (
                    (self.files["images"], make_photo(split + name)),
                    (self.files["masks"], make_mask()),
                ):
                    self.put(pattern.format(split=split, name=name), content)

    def fill_flat(self, names: str, lists: dict[str, str | bytes]) -> None:
        """Writes images and masks into one folder each, and lists of names."""
        for name in names:
            self.put(f"img/{name}.png", encode(photo(name)))
            self.put(f"mask/{name}.png", encode(label()))
        for file, text in lists.items():
            self.put(file, text)

    @property
    def config(self) -> Path:
        return self.folder / "own.yaml"

    def describe(self) -> None:
        values = {
            "title": "Own", "task": "segmentation", "num_classes": 2, "licence": "own",
            "folder": str(self.data), "classes": CLASSES, "splits": dict.fromkeys(SPLITS),
            "files": self.files,
        }  # fmt: skip
        self.config.write_text(
            yaml.safe_dump(values | self.changes, allow_unicode=True), encoding="utf-8"
        )

    def prepare(self, caplog: Any, capsys: Any, *options: str) -> "Outcome":
        """`lemore fetch` and `lemore prepare`, the latter first with --dry-run, which must end
        alike and say the same."""
        if not self.config.exists():
            self.describe()
        config = ["--dataset-config", str(self.config)]
        fetched = str(self.folder / "fetched.json")
        capsys.readouterr()
        if main(["fetch", *config, "--archives-dir", str(self.folder), "--output", fetched]):
            return Outcome(2, capsys.readouterr().err, [], self.folder / "prepared/own")
        output = self.folder / "prepared/own"
        command = [*config, "--fetched", fetched, "--output", str(output), "--workers", "1"]
        found, before = [], output.exists()
        for mode in (["--dry-run"], []):
            caplog.clear()
            code = main(["prepare", *command, *mode, *options])
            error = capsys.readouterr().err if code else ""
            error = re.sub("; see .*rejected.json", "", (error.splitlines() or [""])[-1])
            records = [r for r in caplog.records if r.levelno == logging.WARNING]
            found.append(Outcome(code, error, [r.getMessage() for r in records], output))
            assert mode == [] or output.exists() == before
        dry, real = found
        assert (dry.code, dry.error) == (real.code, real.error)
        assert dry.warnings == [w for w in real.warnings if "starts anew" not in w]
        return real


@dataclass
class Outcome:
    """What prepare did: its exit code, its last line, its warnings, the folder of its output."""

    code: int
    error: str
    warnings: list[str]
    output: Path

    def store(self, split: str = "train") -> Store:
        assert self.code == 0, self.error
        return Store(self.output, split)

    def names(self, split: str = "train") -> list[str]:
        store = self.store(split)
        return [store.name(i) for i in range(len(store))]
