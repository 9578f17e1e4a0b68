"""The schema of images and masks in folders, which need no reader of their own. Torch-free."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval

from lemore.config.values import Byte, Line, Name, PathBelow, Rgb, Seed, SomeShare

POLYGONS = ("coco", "yolo", "labelme")  # kinds of annotation that are no pictures


@dataclass(frozen=True)
class ClassConfig:
    """One class of a dataset described in YAML alone.

    `color` (R, G, B): its code in colour masks, its display colour otherwise (null: chosen).
    `values`: its raw values in index masks (empty: its position in the list).
    """

    name: Line
    color: Rgb | None = None
    values: tuple[Byte, ...] = ()


@dataclass(frozen=True)
class Draw:
    """Splits drawn by a sample's name: the same name always falls into the same split."""

    seed: Seed
    shares: dict[Name, SomeShare]

    def __post_init__(self) -> None:
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares is {self.shares}, expected shares that add up to 1")


@dataclass(frozen=True)
class Files:
    """The places of a dataset's images and masks, and the coding of the masks.

    `images`, `masks`: paths below the dataset's folder. `{split}` stands for the split's name (or
    what `split_folders` calls it), `*` for any characters but "/", every other `{word}` for a part
    of the sample's name that must be equal in both. The split of a sample follows from
    `{split}` in `images` (for coco in `masks` alone, if the files say it), from `lists`
    (split: file of names, one a line) or from `draw`: one of the three. For detection `masks` are
    COCO's JSON files, from which the boxes and the classes come.
    `mask`: index (one value per class), color (one colour per class) or binary (above `threshold`
    is the second class); or polygons: coco (one JSON for each split), yolo (one text for each
    photo) or labelme (one JSON for each photo). `ignore`: values, or colours as [R, G, B], or
    names (coco, labelme) that are in no class. `unlabelled`: what no polygon covers, "ignore" or
    the name of a class. `exif` says how images and masks with an EXIF orientation belong together:
    "shown", each as a viewer shows it, or "stored", neither turned (null: as shown, where the sizes
    leave no doubt).
    """

    images: PathBelow
    masks: PathBelow
    mask: Literal["index", "color", "binary", "coco", "yolo", "labelme"]
    split_folders: dict[Name, PathBelow] = field(default_factory=dict)
    lists: dict[Name, PathBelow] = field(default_factory=dict)
    draw: Draw | None = None
    threshold: Annotated[int, Interval(ge=0, le=254)] | None = None
    exif: Literal["shown", "stored"] | None = None
    ignore: tuple[Byte | Line | Rgb, ...] = ()
    unlabelled: Line | None = None

    def __post_init__(self) -> None:
        by_path = "{split}" in self.images or self.splits_by_file
        if sum([by_path, bool(self.lists), self.draw is not None]) != 1:
            raise ValueError(
                f"images is '{self.images}', lists {self.lists} and draw {self.draw}, expected one "
                "way to say which images are in which split: {split} in images, lists, or draw"
            )
        if (self.mask == "binary") != (self.threshold is not None):
            raise ValueError(
                f"threshold is {self.threshold}, expected one for mask: binary, and only for it"
            )
        kinds = {"color": (tuple, "[R, G, B]"), "coco": (str, "a name"), "labelme": (str, "a name")}
        kind, expected = kinds.get(self.mask, (int, "a number"))
        for value in self.ignore:
            if not isinstance(value, kind):
                raise ValueError(f"ignore has {value}, expected {expected} for mask: {self.mask}")
        if self.mask == "coco" and set(re.findall(r"{\w+}", self.masks)) - {"{split}"}:
            raise ValueError(
                f"masks is '{self.masks}', expected one JSON a split: no braces but {{split}}"
            )

    @property
    def splits_by_file(self) -> bool:
        """Returns whether the annotation files alone say which photo is in which split."""
        return self.mask == "coco" and "{split}" in self.masks and "{split}" not in self.images
