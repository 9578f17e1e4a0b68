"""Images and masks in folders, described by the dataset's YAML alone (`files` and `classes`)."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from lemore.config.dataset import DatasetConfig
from lemore.config.labels import IGNORE
from lemore.data.archives.archives import Member
from lemore.data.archives.images import PNG, decode_label, decode_rgb
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample, pairs

SPLIT = "split"
EXAMPLES = 3


@dataclass(frozen=True)
class Folders:
    """The reader of one dataset; cheap to make."""

    config: DatasetConfig

    def samples(self, source: Source, split: str) -> Iterator[RawSample]:
        """Samples of `split`, sorted by name; ValueError if the patterns fit nothing."""
        assert self.config.files is not None
        files = self.config.files
        folder = files.split_folders.get(split, split)
        masks = _matching(source, files.masks, folder)
        images = _matching(source, files.images, folder)
        # A loose image pattern, such as {name}.png beside {name}_mask.png, fits the masks too.
        places = {mask.place for mask in masks.values()}
        images = {name: image for name, image in images.items() if image.place not in places}
        if not images:
            raise ValueError(f"{_nothing(source, files.images)}")
        if not images.keys() & masks.keys():
            raise ValueError(f"{_nothing(source, files.masks)}; images are there")
        names = images.keys() | (masks.keys() if self._same_splits() else set())
        chosen = self._chosen(source, split, sorted(names))
        yield from pairs(_only(images, chosen), _only(masks, chosen))

    def _same_splits(self) -> bool:
        """Whether the masks found belong to the same samples as the images found."""
        assert self.config.files is not None
        return (f"{{{SPLIT}}}" in self.config.files.images) == (
            f"{{{SPLIT}}}" in self.config.files.masks
        )

    def _chosen(self, source: Source, split: str, names: list[str]) -> set[str]:
        """Names that belong to the split."""
        assert self.config.files is not None
        files = self.config.files
        if files.draw is not None:
            shares, seed = files.draw.shares, files.draw.seed
            return {name for name in names if drawn_split(name, shares, seed) == split}
        if not files.lists:
            return set(names)
        if split not in files.lists:
            raise ValueError(f"files.lists: no list for split '{split}'")
        return set(_listed(source, files.lists[split], names))

    def read_label(self, label: Member, size: tuple[int, int]) -> np.ndarray:
        """H x W uint8: raw values of index masks, train ids (255 ignored) of the others."""
        assert self.config.files is not None
        data = label.read()
        if not data.startswith(PNG):
            raise ValueError("is not a PNG; other formats change the values of a mask")
        if self.config.files.mask == "index":
            return decode_label(data)
        if self.config.files.mask == "color":
            return self._by_color(data)
        pixels = cv2.cvtColor(decode_rgb(data), cv2.COLOR_RGB2GRAY)
        threshold = self.config.files.threshold
        assert threshold is not None
        return (pixels > threshold).astype(np.uint8)

    def _by_color(self, data: bytes) -> np.ndarray:
        pixels = decode_rgb(data)
        known = {_code(*row.color): k for k, row in enumerate(self.config.classes) if row.color}
        assert self.config.files is not None
        ignored = [value for value in self.config.files.ignore if not isinstance(value, int)]
        known |= {_code(*color): IGNORE for color in ignored}
        codes = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
        found, positions, counts = np.unique(codes, return_inverse=True, return_counts=True)
        strange = [(int(n), int(c)) for c, n in zip(found, counts, strict=True) if c not in known]
        if strange:
            shown = ", ".join(f"{_rgb(c)} ({n} pixels)" for n, c in sorted(strange)[::-1][:5])
            raise ValueError(f"{len(strange)} colours are in no class and not ignored: {shown}")
        table = np.array([known[int(code)] for code in found], np.uint8)
        return table[positions].reshape(codes.shape)

    def annotation(self, source: Source) -> str:
        assert self.config.files is not None
        return f"{self.config.files.mask} masks, {self.config.files.masks}"


def drawn_split(name: str, shares: dict[str, float], seed: int) -> str:
    """The split of a sample: by a hash of its name, so that new files move no old ones."""
    number = int(hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()[:13], 16) / 16**13
    for split, share in shares.items():
        number -= share
        if number < 0:
            return split
    return list(shares)[-1]


def pattern(text: str, split: str) -> str:
    """Regular expression of a path pattern: {split} is known, every other {word} a group."""
    parts = re.split(r"(\{\w+\}|\*)", text)
    seen: set[str] = set()
    return "".join(_part(part, split, seen) for part in parts)


def _part(part: str, split: str, seen: set[str]) -> str:
    if part == "*":
        return "[^/]*"
    if not part.startswith("{"):
        return re.escape(part)
    word = part[1:-1]
    if word == SPLIT:
        return re.escape(split)
    if word in seen:
        return f"(?P={word})"
    seen.add(word)
    return f"(?P<{word}>[^/]+)"


def _matching(source: Source, text: str, split: str) -> dict[str, Member]:
    """Files that fit, by what the words of the pattern stand for, joined by "/"."""
    regex = re.compile(rf"(?:^|.*/){pattern(text, split)}$")
    found: dict[str, Member] = {}
    for member in source:
        if match := regex.match(member.name):
            name = "/".join(match[word] for word in sorted(match.groupdict()))
            if name in found:
                raise ValueError(f"two files for '{name}': {found[name].place} and {member.place}")
            found[name] = member
    return found


def _listed(source: Source, file: str, names: list[str]) -> list[str]:
    member = source.one(re.escape(file))
    if member is None:
        raise ValueError(f"{source.describe()}: no {file} in it, which files.lists names")
    try:
        lines = member.read().decode().splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{member.place}: is not text in UTF-8") from None
    wanted = [line.strip() for line in lines if line.strip()]
    if missing := sorted(set(wanted) - set(names)):
        raise ValueError(
            f"{member.place}: {len(missing)} names have neither image nor mask, such as "
            f"'{missing[0]}'; names that are there look like '{names[0]}'"
        )
    return wanted


def _only(members: dict[str, Member], names: set[str]) -> dict[str, Member]:
    return {name: member for name, member in members.items() if name in names}


def _nothing(source: Source, text: str) -> str:
    some = [member.name for _, member in zip(range(EXAMPLES), source, strict=False)]
    shown = "; it holds " + ", ".join(f"'{name}'" for name in some) if some else "; it is empty"
    return f"{source.describe()}: no file fits '{text}'{shown}"


def _code(red: int, green: int, blue: int) -> int:
    return red << 16 | green << 8 | blue


def _rgb(code: int) -> list[int]:
    return [code >> 16, code >> 8 & 255, code & 255]
