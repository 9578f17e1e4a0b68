"""A prepared dataset: photos and label maps in two packs per split, read in place.

<split>.images   the photos one after the other, coded as `lemore.data.packing` says
<split>.labels   the label maps (segmentation only)
<split>.names    the samples' names, one after the other, UTF-8
<split>.npy      one record of `RECORD` per sample, and one more for the ends
digest.json      what it is: dataset, task, classes, sha256 of the content
colors.json      display colours; apart, since training does not depend on them

Only what is asked for comes into memory, whatever the size of the dataset.
"""

import os
from array import array
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lemore.data.archives.images import decode_rgb
from lemore.data.packing import FILE, unpack_label
from lemore.runtime.files import read_json

RECORD = np.dtype(
    [
        ("name", "<i8"),  # where it starts in its pack
        ("image", "<i8"),
        ("label", "<i8"),  # for classification the class number
        ("height", "<i4"),
        ("width", "<i4"),
        ("coding", "<i4"),
    ]
)


class Store:
    """One split. Picklable and safe to use from several processes and threads: it only reads."""

    def __init__(self, folder: Path | str, split: str):
        self.folder, self.split = Path(folder), split
        digest = read_json(self.folder / "digest.json")
        if split not in digest["splits"]:
            known = ", ".join(digest["splits"])
            raise ValueError(f"{folder}: no split '{split}'; it has {known}")
        if "class_frequencies" not in digest or not (self.folder / f"{split}.npy").exists():
            raise ValueError(f"{folder}: prepared by another version; prepare it again")
        self.dataset: str = digest["dataset"]
        self.task: str = digest["task"]
        self.num_classes: int = digest["num_classes"]
        self.classes: list[str] = digest["classes"]
        self.class_frequencies: list[float] = digest["class_frequencies"]
        self._open()

    def _open(self) -> None:
        self._index: np.ndarray = np.load(self.folder / f"{self.split}.npy", mmap_mode="r")
        assert self._index.dtype == RECORD
        self._maps: dict[str, np.ndarray] = {}
        self._positions: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._index) - 1

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self.__dict__ if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def read(self, i: int) -> tuple[np.ndarray, Any]:
        """(image H x W x 3 uint8 RGB, label H x W uint8 train ids), or (image, class as int).

        The arrays may be read-only.
        """
        return self.image(i), self.label(i)

    def image(self, i: int) -> np.ndarray:
        """H x W x 3 uint8 RGB, perhaps read-only."""
        data = self._slice("images", "image", i)
        if self._index["coding"][i] == FILE:
            return decode_rgb(data)
        return data.reshape(*self.size(i), 3)

    def label(self, i: int) -> Any:
        """H x W uint8 train ids, read-only; for classification the class as int."""
        if self.task == "classification":
            return int(self._index["label"][i])
        return unpack_label(self._slice("labels", "label", i).tobytes(), self.size(i))

    def size(self, i: int) -> tuple[int, int]:
        """(H, W) of the photo."""
        return int(self._index["height"][i]), int(self._index["width"][i])

    def name(self, i: int) -> str:
        return self._slice("names", "name", i).tobytes().decode()

    def colors(self) -> list[tuple[int, int, int]]:
        """Display colours (R, G, B) by train id; none for classification."""
        return [(red, green, blue) for red, green, blue in read_json(self.folder / "colors.json")]

    def find(self, name: str) -> int:
        """Position of the sample called `name`; ValueError if there is none."""
        if not self._positions:
            self._positions = {self.name(i): i for i in range(len(self))}
        if name not in self._positions:
            raise ValueError(f"{self.folder}: no image '{name}' in split '{self.split}'")
        return self._positions[name]

    def close(self) -> None:
        """Lets go of the packs; the next read opens them again."""
        self._maps.clear()

    def _slice(self, pack: str, field: str, i: int) -> np.ndarray:
        if not 0 <= i < len(self):
            raise IndexError(f"{self.folder}: no sample {i} in '{self.split}' of {len(self)}")
        if pack not in self._maps:
            self._maps[pack] = self._map(pack, int(self._index[field][-1]))
        return self._maps[pack][int(self._index[field][i]) : int(self._index[field][i + 1])]

    def _map(self, pack: str, size: int) -> np.ndarray:
        path = self.folder / f"{self.split}.{pack}"
        if path.stat().st_size != size:  # reading beyond a mapped file's end kills the process
            raise OSError(f"{path}: cut short; run prepare again")
        return np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)


class PackWriter:
    """Writes one split, sample by sample; nothing counts before `close`.

    `ends`: where an interrupted writer's packs were whole, as its `ends()` said; what lies beyond
    is cut off. Its `records`, six numbers a sample, are then for the caller to put back.
    """

    def __init__(self, folder: Path, split: str, task: str, ends: dict[str, int] | None = None):
        self.folder, self.split, self.task = folder, split, task
        self.records = array("q")
        packs = ("names", "images", "labels") if task == "segmentation" else ("names", "images")
        self.files: dict[str, BinaryIO] = {
            pack: _open_at(folder / f"{split}.{pack}", ends[pack] if ends else 0) for pack in packs
        }

    def add(
        self, name: str, size: tuple[int, int], image: bytes, coding: int, label: bytes | int
    ) -> tuple[int, ...]:
        """Appends a sample: packed photo and its coding, packed label map or class number.

        Returns its record.
        """
        ends = self.ends()
        number = label if isinstance(label, int) else ends["labels"]
        record = (ends["names"], ends["images"], number, *size, coding)
        self.records.extend(record)
        self.files["names"].write(name.encode())
        self.files["images"].write(image)
        if not isinstance(label, int):
            self.files["labels"].write(label)
        return record

    def ends(self) -> dict[str, int]:
        """Bytes written so far, by pack."""
        return {pack: file.tell() for pack, file in self.files.items()}

    def flush(self) -> None:
        """Puts on disk what was added."""
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Flushes the packs to disk and writes the index."""
        self.flush()
        ends = self.ends()
        self.records.extend((ends["names"], ends["images"], ends.get("labels", 0), 0, 0, 0))
        columns = np.array(self.records).reshape(-1, len(RECORD.names or ())).T
        for file in self.files.values():
            file.close()
        with open(self.folder / f"{self.split}.npy", "wb") as file:
            np.save(file, np.rec.fromarrays(columns, RECORD).view(np.ndarray))
            file.flush()
            os.fsync(file.fileno())


def _open_at(path: Path, end: int) -> BinaryIO:
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    if os.fstat(file.fileno()).st_size < end:
        raise OSError(f"{path}: shorter than when it was written; remove its folder")
    file.truncate(end)
    file.seek(end)
    return file
