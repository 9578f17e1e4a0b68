"""A prepared dataset: photos and their labels in two packs per split, read in place.

<split>.images   the photos one after the other, without loss, in the form that is cheapest to read
<split>.labels   the label maps, compressed with Zstandard; for detection each photo's objects;
                 not for classification
<split>.names    the samples' names, one after the other, UTF-8
<split>.npy      one record of `RECORD` per sample, and one more for the ends
digest.json      dataset, task, classes, sha256 of the content
colors.json      display colours; separate, since training does not depend on them

JPEG photos stay unchanged, unless their dataset asks for smaller ones (`short_side`). PNG photos
become plain pixels (`lemore.data.photo`). Zstandard is smaller than PNG and some 20 times faster to
read. Only the requested samples come into memory, whatever the size of the dataset.
"""

import hashlib
import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zstandard

from lemore.data import objects
from lemore.data.archives.members import normalize_name
from lemore.data.photo import Photo
from lemore.runtime.files import read_json

LABEL_LEVEL = 9  # of Zstandard; reading is equally fast at every level
HELD_OUT = 10  # a search holds out one sample in so many
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


def pack_label(label: np.ndarray) -> bytes:
    """Compresses H x W uint8 train ids."""
    return zstandard.ZstdCompressor(level=LABEL_LEVEL).compress(label.tobytes())


def unpack_label(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Returns H x W uint8 train ids, read-only; ValueError if the bytes are damaged."""
    height, width = size
    try:
        plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=height * width)
    except zstandard.ZstdError as error:
        raise ValueError(f"label map of the store is damaged ({error})") from None
    return np.frombuffer(plain, np.uint8).reshape(height, width)


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
        self.category_ids: list[int] = digest.get("category_ids", [])  # of detection, by train id
        self.class_frequencies: list[float] = digest["class_frequencies"]
        self._index: np.ndarray = np.load(self.folder / f"{split}.npy", mmap_mode="r")
        assert self._index.dtype == RECORD
        self._maps: dict[str, np.ndarray] = {}
        self._positions: dict[str, int] = {}

    def __reduce__(self) -> tuple[type["Store"], tuple[Path, str]]:
        return Store, (self.folder, self.split)  # another process opens it again

    def __len__(self) -> int:
        return len(self._index) - 1

    def read(self, i: int) -> tuple[np.ndarray, Any]:
        """(image H x W x 3 uint8 RGB, label as `read_label` gives it). Both may be read-only."""
        return self.read_image(i), self.read_label(i)

    def open(self, i: int) -> tuple[Photo, Any]:
        """(photo that is not decoded yet, label as `read` gives it)."""
        return self._open_photo(i), self.read_label(i)

    def read_image(self, i: int) -> np.ndarray:
        """H x W x 3 uint8 RGB, perhaps read-only."""
        return self._open_photo(i).read()

    def _open_photo(self, i: int) -> Photo:
        coding = int(self._index["coding"][i])
        return Photo(self._slice("images", "image", i), coding, self.get_size(i))

    def read_label(self, i: int) -> Any:
        """H x W uint8 train ids, read-only; for classification the class as int, for detection
        `Objects`."""
        if self.task == "classification":
            return int(self._index["label"][i])
        if self.task == "detection":
            return objects.unpack(self._slice("labels", "label", i))
        return unpack_label(self._slice("labels", "label", i).tobytes(), self.get_size(i))

    def get_size(self, i: int) -> tuple[int, int]:
        """(H, W) as photographed."""
        return int(self._index["height"][i]), int(self._index["width"][i])

    def list_sizes(self) -> np.ndarray:
        """int32 N 2, (H, W) of all photos as photographed."""
        return np.stack([self._index["height"][:-1], self._index["width"][:-1]], 1)

    def read_image_id(self, i: int) -> int:
        """The number of a photo in COCO's JSON; for detection alone."""
        return objects.read_image_id(self._slice("labels", "label", i))

    def count_objects(self) -> np.ndarray:
        """int64 N, the objects of every photo; for detection alone."""
        return objects.count(np.diff(self._index["label"]))

    def name(self, i: int) -> str:
        return self._slice("names", "name", i).tobytes().decode()

    def read_colors(self) -> list[tuple[int, int, int]]:
        """Display colours (R, G, B) by train id; none for classification."""
        return [(red, green, blue) for red, green, blue in read_json(self.folder / "colors.json")]

    def find(self, name: str) -> int:
        """Returns the position of sample `name`; ValueError if there is none."""
        if not self._positions:
            self._positions = {normalize_name(self.name(i)): i for i in range(len(self))}
        if normalize_name(name) not in self._positions:
            raise ValueError(f"{self.folder}: no image '{name}' in split '{self.split}'")
        return self._positions[normalize_name(name)]

    def close(self) -> None:
        """Closes the packs; the next read opens them again."""
        self._maps.clear()

    def _slice(self, pack: str, field: str, i: int) -> np.ndarray:
        if not 0 <= i < len(self):
            raise IndexError(f"{self.folder}: no sample {i} in '{self.split}' of {len(self)}")
        if pack not in self._maps:
            path, size = self.folder / f"{self.split}.{pack}", int(self._index[field][-1])
            if path.stat().st_size != size:  # reading beyond a mapped file's end kills the process
                raise OSError(f"{path}: cut short; run prepare again")
            self._maps[pack] = np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)
        return self._maps[pack][int(self._index[field][i]) : int(self._index[field][i + 1])]


class Part:
    """Some samples of a store, read as a store."""

    def __init__(self, store: Store, indices: Sequence[int]):
        self.store, self.task, self.num_classes = store, store.task, store.num_classes
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, i: int) -> str:
        return self.store.name(self.indices[i])

    def list_sizes(self) -> np.ndarray:
        return self.store.list_sizes()[self.indices]

    def read(self, i: int) -> tuple[np.ndarray, Any]:
        return self.store.read(self.indices[i])

    def open(self, i: int) -> tuple[Photo, Any]:
        return self.store.open(self.indices[i])

    def read_label(self, i: int) -> Any:
        return self.store.read_label(self.indices[i])


def take_part(store: Store, held_out: bool) -> Part:
    """Returns the samples that a search holds out, a tenth chosen by name, or the others."""
    digests = (hashlib.sha256(store.name(i).encode()).digest() for i in range(len(store)))
    numbers = [int.from_bytes(digest[:4]) for digest in digests]
    indices = [i for i, number in enumerate(numbers) if (number % HELD_OUT == 0) == held_out]
    if not indices:
        raise ValueError(f"{store.folder}: too few training images to hold some out")
    return Part(store, indices)


class PackWriter:
    """Writes one split, sample by sample; it can be read after `close`.

    `ends`: the `ends` at which an interrupted writer's packs were whole; the bytes beyond are cut
    off. The caller then restores its `records`, six numbers a sample.
    """

    def __init__(self, folder: Path, split: str, task: str, ends: dict[str, int] | None = None):
        self.folder, self.split, self.task = folder, split, task
        self.records = array("q")
        packs = ("names", "images") if task == "classification" else ("names", "images", "labels")
        self.files: dict[str, BinaryIO] = {
            pack: _open_at(folder / f"{split}.{pack}", ends[pack] if ends else 0) for pack in packs
        }

    def add(
        self, name: str, size: tuple[int, int], image: bytes, coding: int, label: bytes | int
    ) -> tuple[int, ...]:
        """Appends a sample: packed photo and its coding, packed label map or objects, or class
        number.

        Returns its record.
        """
        ends = self.ends
        number = label if isinstance(label, int) else ends["labels"]
        record = (ends["names"], ends["images"], number, *size, coding)
        self.records.extend(record)
        self.files["names"].write(name.encode())
        self.files["images"].write(image)
        if not isinstance(label, int):
            self.files["labels"].write(label)
        return record

    @property
    def ends(self) -> dict[str, int]:
        """Bytes written so far, by pack."""
        return {pack: file.tell() for pack, file in self.files.items()}

    def flush(self) -> None:
        """Writes to disk all that was added."""
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Flushes the packs to disk and writes the index."""
        self.flush()
        ends = self.ends
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
