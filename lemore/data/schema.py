"""What a file in config/datasets says. Torch-free: the Snakefile reads it."""

from dataclasses import dataclass
from typing import Literal

HASHES = {"md5": 32, "sha1": 40, "sha256": 64}


@dataclass(frozen=True)
class Archive:
    """One file to fetch.

    `urls` in the order tried, none where an account is needed; `bytes` and `checksum`
    ("md5:..", "sha1:.." or "sha256:..") as published, null where nobody publishes them;
    `instead`: names of other files that serve as well when placed by hand.
    """

    file: str
    urls: tuple[str, ...]
    bytes: int | None = None
    checksum: str | None = None
    instead: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.file, *self.instead):
            if not name or "/" in name or name.startswith("."):
                raise ValueError(f"archives: file '{name}' must be a plain file name")
        if self.checksum is not None:
            kind, _, digest = self.checksum.partition(":")
            if len(digest) != HASHES.get(kind, -1):
                known = ", ".join(HASHES)
                raise ValueError(f"archives: checksum '{self.checksum}' must be <{known}>:<hex>")


@dataclass(frozen=True)
class Scenes:
    """How the project draws a stand-in: same seed, same bytes. `size` is (H, W) in pixels."""

    kind: Literal["mixed", "streets", "objects"]
    size: tuple[int, int]
    seed: int


@dataclass(frozen=True)
class DatasetConfig:
    """A dataset: where its files come from, how they are read, what must come out.

    `reader` is a module of lemore/data/datasets, `labels` a table of lemore/data/labels (null:
    the classes are those found in the data), `splits` the expected number of images of each
    split, `archives_folder` the folder of the archives when several datasets share them,
    `manual` what to place where when no url can be had.
    """

    title: str
    task: Literal["segmentation", "classification"]
    reader: str
    labels: str | None
    num_classes: int
    stands_for: str | None
    scenes: Scenes | None
    archives: tuple[Archive, ...]
    licence: str
    splits: dict[str, int]
    archives_folder: str | None = None
    manual: str | None = None

    def __post_init__(self) -> None:
        if self.task == "segmentation" and self.labels is None:
            raise ValueError("labels: a segmentation dataset needs a label table")
        if self.num_classes < 2 or (self.task == "segmentation" and self.num_classes > 255):
            raise ValueError(f"num_classes is {self.num_classes}, expected 2 to 255")
        if not self.splits or min(self.splits.values()) < 1:
            raise ValueError("splits: expected at least one split, each with at least one image")
        if (self.scenes is None) != (self.stands_for is None):
            raise ValueError("scenes and stands_for go together: both, or both null")
        if not self.archives:
            raise ValueError("archives: expected at least one file")
