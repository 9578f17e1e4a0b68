"""Images and masks in folders, described by the dataset's YAML alone (`files` and `classes`)."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from lemore.config.dataset import POLYGONS, DatasetConfig
from lemore.config.labels import IGNORE
from lemore.data.archives.images import PNG, check_whole, decode_label, decode_rgb
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import BLANK, RawSample, read_list
from lemore.data.readers import polygons

SPLIT = "{split}"
EXAMPLES = 3


class Folders:
    """The reader of one dataset; cheap to make."""

    def __init__(self, config: DatasetConfig):
        assert config.files is not None
        self.files, self.classes = config.files, config.classes

    def list_samples(self, source: Source, split: str) -> Iterator[RawSample]:
        """Samples of `split`, sorted by name; ValueError if the patterns fit nothing."""
        folder = self.files.split_folders.get(split, split)
        masks: dict[str, Any] = source.match(make_regex(self.files.masks, folder))
        # A loose image pattern, such as {name}.png beside {name}_mask.png, fits the masks too.
        places = {mask.place for mask in masks.values()}
        images = source.match(make_regex(self.files.images, folder))
        images = {name: image for name, image in images.items() if image.place not in places}
        if not images:
            raise ValueError(_explain_no_match(source, self.files.images))
        if self.files.mask == "coco":
            masks = polygons.read_coco(self.files, self.classes, source, masks, images)
        if not images.keys() & masks.keys():
            message = _explain_no_match(source, self.files.masks)
            raise ValueError(f"{message}; images are there")
        names = set(masks if self.files.splits_by_file else images)
        if (SPLIT in self.files.images) == (SPLIT in self.files.masks):
            names |= masks.keys()  # otherwise the masks found may belong to another split
        missing = BLANK if self.files.mask in POLYGONS else None
        for name in sorted(self._select_names(source, split, names)):
            yield RawSample(name, images.get(name), masks.get(name, missing))

    def _select_names(self, source: Source, split: str, names: set[str]) -> set[str]:
        """Returns those of the names that belong to the split."""
        if self.files.draw is not None:
            shares, seed = self.files.draw.shares, self.files.draw.seed
            return {name for name in names if draw_split(name, shares, seed) == split}
        if not self.files.lists:
            return names
        if split not in self.files.lists:
            raise ValueError(f"files.lists: no list for split '{split}'")
        file = self.files.lists[split]
        listed = read_list(source, file)
        if missing := sorted(set(listed) - names):
            raise ValueError(
                f"{source.describe()}, {file}: {len(missing)} names have neither image nor mask, "
                f"such as '{missing[0]}'; names that are there look like '{min(names)}'"
            )
        return set(listed)

    def read_label(self, label: Any, size: tuple[int, int]) -> np.ndarray:
        """Reads H x W uint8: raw values of index masks, train ids (255 ignored) of the others."""
        if self.files.mask in POLYGONS:
            return polygons.read_label(self.files, self.classes, label, size)
        data = label.read()
        if not data.startswith(PNG):
            raise ValueError("is not a PNG; other formats change the values of a mask")
        if self.files.mask == "index":
            return decode_label(data)
        check_whole(data)
        pixels = decode_rgb(data)
        if self.files.mask == "color":
            return self._find_colors(pixels)
        assert self.files.threshold is not None
        gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        return (gray > self.files.threshold).astype(np.uint8)

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
        return f"{self.files.mask} {kind}, {self.files.masks}"


def draw_split(name: str, shares: dict[str, float], seed: int) -> str:
    """Chooses a sample's split by a hash of its name, so that new files move no old ones."""
    number = int(hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()[:13], 16) / 16**13
    for split, share in shares.items():
        number -= share
        if number < 0:
            return split
    return list(shares)[-1]


def make_regex(pattern: str, split: str) -> str:
    """Translates a path pattern: {split} is known, every other {word} is a named group."""
    parts: list[str] = []
    for part in re.split(r"(\{\w+\}|\*)", pattern):
        group = f"(?P<{part[1:-1]}>[^/]+)"
        if part == "*":
            parts.append("[^/]*")
        elif part == SPLIT or not part.startswith("{"):
            parts.append(re.escape(split if part == SPLIT else part))
        else:
            parts.append(f"(?P={part[1:-1]})" if group in parts else group)
    return "".join(parts)


def _explain_no_match(source: Source, pattern: str) -> str:
    some = [f"'{member.name}'" for _, member in zip(range(EXAMPLES), source, strict=False)]
    shown = f"it holds {', '.join(some)}" if some else "it is empty"
    return f"{source.describe()}: no file fits '{pattern}'; {shown}"
