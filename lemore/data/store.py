"""A prepared dataset: encoded photos and label images in two packs per split, read in place.

<split>.images   the photos' own bytes, one after the other
<split>.labels   single-channel PNGs of train ids (segmentation only)
<split>.npz      names, offsets, sizes; for classification the labels
digest.json      what it is: dataset, task, classes, sha256 of the content
"""

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lemore.data.images import decode_label, decode_rgb
from lemore.files import read_json


class Store:
    """One split. Picklable and safe to use from forked processes: it only reads at offsets."""

    def __init__(self, folder: Path | str, split: str):
        self.folder, self.split = Path(folder), split
        digest = read_json(self.folder / "digest.json")
        if split not in digest["splits"]:
            known = ", ".join(digest["splits"])
            raise ValueError(f"{folder}: no split '{split}'; it has {known}")
        self.dataset: str = digest["dataset"]
        self.task: str = digest["task"]
        self.num_classes: int = digest["num_classes"]
        self.classes: list[str] = digest["classes"]
        with np.load(self.folder / f"{split}.npz", allow_pickle=False) as index:
            self.names = (
                index["names"].tobytes().decode().split("\n") if len(index["sizes"]) else []
            )
            self.sizes: np.ndarray = index["sizes"]
            self._images: np.ndarray = index["images"]
            self._labels: np.ndarray = index["labels"]
        self._files: dict[str, int] = {}
        self._positions: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}, "_positions": {}}

    def __del__(self) -> None:
        for file in getattr(self, "_files", {}).values():
            os.close(file)

    def read(self, i: int) -> tuple[np.ndarray, Any]:
        """(image H x W x 3 uint8 RGB, label H x W uint8 train ids), or (image, class as int)."""
        image = decode_rgb(self.image_bytes(i))
        if self.task == "classification":
            return image, int(self._labels[i])
        return image, decode_label(self.label_bytes(i))

    def image_bytes(self, i: int) -> bytes:
        """The photo as it came: JPEG or PNG."""
        return self._bytes("images", self._images, i)

    def label_bytes(self, i: int) -> bytes:
        """The label image as PNG of train ids (segmentation only)."""
        assert self.task == "segmentation"
        return self._bytes("labels", self._labels, i)

    def label(self, i: int) -> Any:
        """The label alone, without decoding the photo."""
        if self.task == "classification":
            return int(self._labels[i])
        return decode_label(self.label_bytes(i))

    def find(self, name: str) -> int:
        """Position of the sample called `name`; ValueError if there is none."""
        if not self._positions:
            self._positions = {known: i for i, known in enumerate(self.names)}
        if name not in self._positions:
            raise ValueError(f"{self.folder}: no image '{name}' in split '{self.split}'")
        return self._positions[name]

    def _bytes(self, pack: str, offsets: np.ndarray, i: int) -> bytes:
        if pack not in self._files:
            self._files[pack] = os.open(self.folder / f"{self.split}.{pack}", os.O_RDONLY)
        start, end = int(offsets[i]), int(offsets[i + 1])
        data = os.pread(self._files[pack], end - start, start)
        if len(data) != end - start:
            raise OSError(f"{self.folder}/{self.split}.{pack}: cut short; run prepare again")
        return data


class PackWriter:
    """Writes one split, sample by sample; nothing counts before `close`."""

    def __init__(self, folder: Path, split: str, task: str):
        self.folder, self.split, self.task = folder, split, task
        self.names: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.images, self.labels = [0], [0]
        self.classes: list[int] = []
        packs = ("images", "labels") if task == "segmentation" else ("images",)
        self.files: dict[str, BinaryIO] = {p: _create(folder / f"{split}.{p}") for p in packs}

    def add(self, name: str, size: tuple[int, int], image: bytes, label: bytes | int) -> None:
        """Appends a sample: encoded photo, and label PNG or class number; `size` is (H, W)."""
        self.names.append(name)
        self.sizes.append(size)
        self.files["images"].write(image)
        self.images.append(self.images[-1] + len(image))
        if isinstance(label, int):
            self.classes.append(label)
            return
        self.files["labels"].write(label)
        self.labels.append(self.labels[-1] + len(label))

    def close(self) -> None:
        """Flushes the packs to disk and writes the index."""
        labels = self.labels if self.task == "segmentation" else self.classes
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        with open(self.folder / f"{self.split}.npz", "wb") as file:
            np.savez(
                file,
                names=np.frombuffer("\n".join(self.names).encode(), np.uint8),
                sizes=np.array(self.sizes, np.int32).reshape(-1, 2),
                images=np.array(self.images, np.int64),
                labels=np.array(labels, np.int64),
            )
            file.flush()
            os.fsync(file.fileno())


def _create(path: Path) -> BinaryIO:
    return open(path, "wb")
