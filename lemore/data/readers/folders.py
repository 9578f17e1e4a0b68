"""Images with masks, polygons or boxes in folders, described by the dataset's YAML alone."""

import hashlib
import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from lemore.config.dataset import DatasetConfig
from lemore.config.labels import IGNORE
from lemore.config.own_files import POLYGONS
from lemore.data.archives.masks import decode_mask
from lemore.data.archives.members import Member, normalize_name
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import BLANK, RawSample, read_list
from lemore.data.readers import coco_boxes, polygons

SPLIT = "{split}"
EXAMPLES = 3


class Folders:
    """The reader of one dataset; cheap to make."""

    def __init__(self, config: DatasetConfig):
        assert config.files is not None
        self.files, self.classes, self.splits = config.files, config.classes, tuple(config.splits)
        self.detects = config.task == "detection"

    def list_samples(self, source: Source, split: str) -> Iterator[RawSample]:
        """Samples of `split`, sorted by name; ValueError if the patterns fit nothing."""
        folder = self.files.split_folders.get(split, split)
        pattern = make_regex(self.files.masks, folder)
        masks: dict[str, Any] = source.match(pattern, whole=True)
        # A loose image pattern, such as {name}.png beside {name}_mask.png, fits the masks too.
        places = {mask.place for mask in masks.values()}
        images = source.match(make_regex(self.files.images, folder), whole=True)
        images = {name: image for name, image in images.items() if image.place not in places}
        if not images:
            raise ValueError(_explain_no_match(source, self.files.images, folder))
        if self.detects:
            found = masks.values()  # one JSON, or none
            masks = {
                k: v for m in found for k, v in coco_boxes.read_images(source, m, images).items()
            }
        elif self.files.mask == "coco":
            masks = polygons.read_coco(self.files, self.classes, source, masks, images)
        if not images.keys() & masks.keys():
            message = _explain_no_match(source, self.files.masks, folder)
            raise ValueError(f"{message}; images are there")
        names = set(masks if self.files.splits_by_file else images)
        if (SPLIT in self.files.images) == (SPLIT in self.files.masks):
            names |= masks.keys()  # otherwise the masks found may belong to another split
        if self.detects:
            names &= masks.keys()  # a photo that the JSON does not name is no sample
        missing = BLANK if self.files.mask in POLYGONS else None
        for name in sorted(self._select_names(source, split, names, images)):
            yield RawSample(name, images.get(name), masks.get(name, missing))

    def list_texts(self, source: Source) -> list[Member]:
        """Lists the files that say what is in a split: lists of names, COCO's JSON."""
        files = [re.escape(file) for file in self.files.lists.values()]
        lists = [member for file in files if (member := source.find_one(file, whole=True))]
        return [*lists, *self._find_coco(source)] if self.files.mask == "coco" else lists

    def _find_coco(self, source: Source) -> list[Member]:
        """Finds COCO's JSON of each split, or the one of all."""
        folders = (self.files.split_folders.get(split, split) for split in self.splits)
        files = dict.fromkeys(make_regex(self.files.masks, folder) for folder in folders)
        return [member for file in files if (member := source.find_one(file, whole=True))]

    def list_categories(self, source: Source) -> dict[int, str]:
        """Names of the categories by id, for detection; ValueError if there is no JSON."""
        if not (files := self._find_coco(source)):
            raise ValueError(_explain_no_match(source, self.files.masks, self.splits[0]))
        return coco_boxes.read_categories(source, files)

    def _select_names(
        self, source: Source, split: str, names: set[str], images: dict[str, Member]
    ) -> set[str]:
        """Returns those of the names that belong to the split."""
        if self.files.draw is not None:
            shares, seed = self.files.draw.shares, self.files.draw.seed
            return {name for name in names if draw_split(name, shares, seed) == split}
        if not self.files.lists:
            return names
        file = self.files.lists[split]
        lines = read_list(source, file, whole=True)
        others = _name_by_file(images)
        listed = {line if line in names else others.get(_clean_path(line), line) for line in lines}
        if missing := sorted(listed - names):
            raise ValueError(
                f"{source.describe()}, {file}: {len(missing)} names have neither image nor mask, "
                f"such as '{missing[0]}'; names that are there look like '{min(names)}'"
            )
        return listed

    def read_label(self, label: Any, size: tuple[int, int]) -> Any:
        """Reads H x W: the values of index and binary masks, train ids (255 ignored) of others; for
        detection `Objects`."""
        if self.detects:
            return coco_boxes.make_objects(label, size)
        if self.files.mask in POLYGONS:
            return polygons.read_label(self.files, self.classes, label, size)
        values = decode_mask(
            label.read(),
            indices=self.files.mask == "index",
            lossy=self.files.mask == "binary",
            as_stored=self.files.exif == "stored",
        )
        if self.files.mask != "color":
            if values.ndim == 3:
                raise ValueError(
                    f"is in colours, where {self.files.mask} masks hold one value a pixel: "
                    "gray, or equal channels"
                )
            return values
        return self._find_colors(values if values.ndim == 3 else np.dstack([values] * 3))

    def _find_colors(self, pixels: np.ndarray) -> np.ndarray:
        """H x W x 3 colours of classes -> H x W uint8 train ids; ValueError for other colours."""
        known = {row.color: k for k, row in enumerate(self.classes)}
        known |= {color: IGNORE for color in self.files.ignore}
        codes = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
        found, positions, counts = np.unique(codes, return_inverse=True, return_counts=True)
        colors = [(code >> 16, code >> 8 & 255, code & 255) for code in found.tolist()]
        unknown = [(n, c) for n, c in zip(counts.tolist(), colors, strict=True) if c not in known]
        if unknown:
            listed = sorted(unknown, reverse=True)[:5]
            shown = ", ".join(f"{list(color)} ({number} pixels)" for number, color in listed)
            raise ValueError(f"{len(unknown)} colours are in no class and not ignored: {shown}")
        table = np.array([known[color] for color in colors], np.uint8)
        return table[positions].reshape(codes.shape)

    def describe_annotation(self, source: Source) -> str:
        kind = "polygons" if self.files.mask in POLYGONS else "masks"
        return f"{self.files.mask} {'boxes' if self.detects else kind}, {self.files.masks}"


def draw_split(name: str, shares: dict[str, float], seed: int) -> str:
    """Chooses a sample's split by a hash of its name, so that new files move no old ones."""
    number = int(hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()[:13], 16) / 16**13
    for split, share in shares.items():
        number -= share
        if number < 0:
            return split
    return list(shares)[-1]


def make_regex(pattern: str, split: str) -> str:
    """Translates a path pattern: {split} is known, every other {word} is a named group, and the
    extension is in any case."""
    parts: list[str] = []
    extension = match[0] if (match := re.search(r"\.\w+\Z", pattern)) else ""
    for part in re.split(r"(\{\w+\}|\*)", pattern.removesuffix(extension)):
        group = f"(?P<{part[1:-1]}>[^/]+)"
        if part == "*":
            parts.append("[^/]*")
        elif part == SPLIT or not part.startswith("{"):
            parts.append(re.escape(split if part == SPLIT else part))
        else:
            parts.append(f"(?P={part[1:-1]})" if group in parts else group)
    return "".join(parts) + f"(?i:{re.escape(extension)})"


def _clean_path(line: str) -> str:
    """Returns a path of a list as the source has it: lists are made on other systems too."""
    return posixpath.normpath(line.replace("\\", "/"))


def _name_by_file(images: dict[str, Member]) -> dict[str, str]:
    """Returns the samples' names by what lists have instead: the image's path, or its file's name
    where no other sample has the same."""
    files = [(posixpath.basename(image.name), name) for name, image in images.items()]
    times = Counter(file for file, _ in files)
    by_path = {normalize_name(image.name): name for name, image in images.items()}
    return {normalize_name(file): name for file, name in files if times[file] == 1} | by_path


def _explain_no_match(source: Source, pattern: str, split: str) -> str:
    below = re.compile(f"(.+/){make_regex(pattern, split)}")
    for member in source:
        if match := below.fullmatch(normalize_name(member.name)):
            shown = f"'{member.name}' fits below '{match[1]}', with which the pattern must begin"
            break
    else:
        some = [f"'{member.name}'" for _, member in zip(range(EXAMPLES), source, strict=False)]
        shown = f"it holds {', '.join(some)}" if some else "it is empty"
    where = f" (split '{split}')" if SPLIT in pattern else ""
    return f"{source.describe()}: no file fits '{pattern}'{where}; {shown}"
