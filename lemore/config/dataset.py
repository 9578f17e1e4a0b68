"""The schema of the files in config/datasets. Torch-free: the Snakefile reads it."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval, MinLen, Predicate, doc

from lemore.config.own_files import POLYGONS, ClassConfig, Files
from lemore.config.values import (
    Count,
    FileName,
    FolderPath,
    Line,
    Name,
    Number,
    PathBelow,
    Pattern,
    Seed,
    Side,
    Text,
)

HASHES = {"md5": 32, "sha1": 40, "sha256": 64}  # hexadecimal digits
UNLABELLED = "what no polygon covers: 'ignore' or the name of a class"
MAX_CLASSES = 255  # of a label map: train ids 0..254; 255 is ignored
MAX_BOX_CLASSES = 10_000  # of detection
Variable = Annotated[str, Predicate(str.isidentifier), doc("the name of an environment variable")]


def is_checksum(text: str) -> bool:
    kind, _, digest = text.partition(":")
    return re.fullmatch("[0-9a-f]*", digest) is not None and len(digest) == HASHES.get(kind)


def is_url(text: str) -> bool:
    return re.fullmatch(r"(https?|file)://\S+", text) is not None


Splits = Annotated[dict[Name, Count | None], MinLen(1)]
Checksum = Annotated[
    str, Predicate(is_checksum), doc("md5, sha1 or sha256, a colon, and the lower-case digits")
]
Url = Annotated[str, Predicate(is_url), doc("an address, https://...")]


@dataclass(frozen=True)
class Archive:
    """A file to fetch.

    `urls` are tried in order, and empty where an account is needed; `bytes` and `checksum`
    ("md5:..", "sha1:.." or "sha256:..") are as published, null where nobody publishes them;
    `instead` names other files that serve as well when placed by hand.
    """

    file: FileName
    urls: tuple[Url, ...]
    bytes: Count | None = None
    checksum: Checksum | None = None
    instead: tuple[FileName, ...] = ()


@dataclass(frozen=True)
class Login:
    """A login at the publisher's site; secrets come from environment variables.

    It is either a form at `address`, with fixed fields in `form` and secret ones in `variables`
    (field: environment variable), or `cookie`: a variable with the cookies of a logged-in browser.
    """

    address: Url
    form: dict[Line, Line] = field(default_factory=dict)
    variables: dict[Line, Variable] = field(default_factory=dict)
    cookie: Variable | None = None

    def __post_init__(self) -> None:
        if bool(self.variables) == (self.cookie is not None):
            raise ValueError("variables or cookie: give one of the two")

    @property
    def wanted(self) -> list[str]:
        """Names of the environment variables."""
        return [self.cookie] if self.cookie is not None else list(self.variables.values())


@dataclass(frozen=True)
class Scenes:
    """The settings of a drawn stand-in: same seed, same bytes. `size` is (H, W) in pixels."""

    kind: Literal["mixed", "streets", "objects"]
    size: tuple[Side, Side]
    seed: Seed


@dataclass(frozen=True)
class Video:
    """For images that are frames of films: neighbours are alike, so tests take them together.

    `sequence`: regular expression for the beginning of a sample's name, which names its film;
    `block`: number of frames in a row that count as one observation.
    """

    sequence: Pattern
    block: Count


NOT_STATED = "not stated"  # the licence of data that `lemore train` describes


@dataclass(frozen=True)
class DatasetConfig:
    """A dataset: the origin of its files, how they are read, and what must come out.

    `reader` is a module of lemore/data/readers, `labels` a table of config/labels, whose ids are
    COCO's category ids for detection (null: the classes are those found in the data), `splits` the
    expected number of images of each split (null: any), `archives_folder` the folder of the
    archives when several datasets share them, `login` what the urls ask for, `manual` which files
    to place where without a login, `quarantine_limit` how many faulty samples may be left out,
    `recipe` the dataset whose recipe is used (null: its own). Images and masks in folders need no
    reader and no table: `files` says where they are, `classes` what masks show, `folder` where the
    dataset lies (null: <archives_dir>/<dataset>). `video` is for statistical tests alone.
    `short_side`: larger training photos of classification are kept at that many pixels, as JPEG
    (null: as they are).
    """

    title: Line
    task: Literal["segmentation", "classification", "detection"]
    num_classes: Annotated[int, Ge(1)]
    licence: Text
    splits: Splits
    reader: Name = "folders"
    labels: Name | None = None
    stands_for: Name | None = None
    scenes: Scenes | None = None
    archives: tuple[Archive, ...] = ()
    archives_folder: PathBelow | None = None
    login: Login | None = None
    manual: Text | None = None
    quarantine_limit: Number = 0
    recipe: Name | None = None
    folder: FolderPath | None = None
    files: Files | None = None
    classes: tuple[ClassConfig, ...] = ()
    video: Video | None = None
    short_side: Annotated[int, Interval(ge=256, le=320)] | None = None

    def __post_init__(self) -> None:
        self._check_own() if self.reader == "folders" else self._check_known()
        if self.task == "segmentation" and not 2 <= self.num_classes <= MAX_CLASSES:
            raise ValueError(f"num_classes is {self.num_classes}, expected 2 to {MAX_CLASSES}")
        if self.task == "detection" and self.num_classes > MAX_BOX_CLASSES:
            raise ValueError(f"num_classes is {self.num_classes}, expected 1 to {MAX_BOX_CLASSES}")
        if self.task == "classification" and self.num_classes < 2:
            raise ValueError(f"num_classes is {self.num_classes}, expected 2 or more")
        if self.short_side is not None and self.task != "classification":
            raise ValueError(f"short_side is {self.short_side}, expected null for {self.task}")
        if self.scenes is not None and self.stands_for is None:
            raise ValueError(f"scenes is {self.scenes}, expected stands_for with it")

    def _check_known(self) -> None:
        if self.task != "classification" and self.labels is None:
            raise ValueError(f"labels: a {self.task} dataset needs a label table")
        if self.files is not None or self.classes:
            raise ValueError(f"files and classes are for `reader: folders`, not {self.reader}")
        if not self.archives:
            raise ValueError("archives: expected at least one file")

    def _check_own(self) -> None:
        if self.files is None or self.task == "classification":
            raise ValueError(
                "reader folders: expected task segmentation or detection, and where its `files` are"
            )
        self._check_unlabelled(self.files)
        if self.task == "segmentation":
            self._check_classes(self.files)
        elif self.files.mask != "coco" or self.files.ignore or self.classes:
            raise ValueError(
                "files: for detection expected mask: coco without ignore, and no classes: the "
                "JSON has the names"
            )
        shares = self.files.draw.shares if self.files.draw else {}
        for split in (*self.files.lists, *shares, *self.files.split_folders):
            if split not in self.splits:
                known = ", ".join(self.splits)
                raise ValueError(f"files: split '{split}' is not under splits ({known})")
        for split in self.splits:
            for key, given in (("lists", self.files.lists), ("draw.shares", shares)):
                if given and split not in given:
                    raise ValueError(f"files.{key}: nothing for split '{split}'")
        self._check_words(self.files)

    def _check_unlabelled(self, files: Files) -> None:
        paints = self.task == "segmentation" and files.mask in POLYGONS
        if paints != (files.unlabelled is not None):
            expected = UNLABELLED if paints else "it for polygons of segmentation alone"
            raise ValueError(
                f"files.unlabelled is {files.unlabelled}, with mask: {files.mask} expected "
                f"{expected}"
            )

    def _check_words(self, files: Files) -> None:
        paths = (files.images, files.masks)
        words = [set(re.findall(r"{(\w+)}", path)) - {"split"} for path in paths]
        if not words[0] or (words[0] != words[1] and files.mask != "coco"):
            raise ValueError(
                f"files.images is '{files.images}' and masks '{files.masks}', expected the same "
                "words in braces beside {split}, such as {name}: they pair an image with its mask"
            )

    def _check_classes(self, files: Files) -> None:
        names = [row.name for row in self.classes]
        if len(names) != self.num_classes or len(set(names)) != len(names):
            raise ValueError(
                f"classes: {len(set(names))} different names, num_classes says {self.num_classes}"
            )
        if files.mask == "color":
            colors: list[Any] = [*(row.color for row in self.classes), *files.ignore]
            if None in colors:
                raise ValueError("classes: colour masks need the color of every class")
            if twice := [list(color) for color in colors if colors.count(color) > 1]:
                raise ValueError(f"classes: colour {twice[0]} is given twice, a class would vanish")
        if files.mask == "binary" and self.num_classes != 2:
            raise ValueError("classes: binary masks have two, what is below the threshold first")
        if files.mask != "index" and any(row.values for row in self.classes):
            raise ValueError(f"classes: values are for index masks, not for {files.mask}")
        if files.mask in POLYGONS:
            self._check_polygons(files, names)

    def _check_polygons(self, files: Files, names: list[str]) -> None:
        if files.unlabelled not in ("ignore", *names):
            raise ValueError(f"files.unlabelled is '{files.unlabelled}', expected {UNLABELLED}")
        if files.unlabelled == "ignore" and "ignore" in names:
            raise ValueError("classes: 'ignore' is what files.unlabelled calls no class; rename it")
        known = range(len(names)) if files.mask == "yolo" else names
        if both := [value for value in files.ignore if value in known]:
            raise ValueError(f"files.ignore: '{both[0]}' is a class")
