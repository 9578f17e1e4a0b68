"""Finds where the photos and annotations of an unknown folder lie, as patterns for `files`."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import PurePosixPath
from typing import Literal

from lemore.data.archives.images import SUFFIXES
from lemore.data.archives.members import Member
from lemore.data.archives.source import Source
from lemore.runtime.files import decode_text

Kind = Literal["pictures", "coco", "yolo", "labelme", "boxes"]
ANNOTATION_FOLDERS = {
    "annotation", "annotations", "ground_truth", "groundtruth", "gt", "label", "labels", "mask",
    "masks", "seg", "segmentation", "segmentationclass", "segmentations",
}  # fmt: skip
SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "dev": "val", "test": "test", "testing": "test",
}  # fmt: skip
IN_NAME = re.compile(r"(?<![a-z])(train|val|valid|test)(?![a-z])")  # a split in a file's name
NO_POLYGONS = ("classes.txt", "obj.names", "train.txt", "val.txt", "test.txt")
LOSSY = (".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Layout:
    """Patterns of `files`; `splits`: their folders, {} if there are none; `annotations`: the files
    that the pattern fits."""

    images: str
    masks: str
    kind: Kind
    splits: dict[str, str]
    annotations: list[Member]


def find_layout(source: Source, boxes: bool = False) -> Layout:
    """Finds the layout of a folder's files, with masks or polygons, or with `boxes`.

    ValueError says what is missing or does not pair.
    """
    photos, annotations = divide(list(source))
    if not photos:
        raise ValueError(f"{source.describe()}: no photos ({', '.join(SUFFIXES)}) in it")
    if boxes:
        return _find_boxes(source, photos)
    if not annotations:
        raise ValueError(
            f"{source.describe()}: {len(photos)} photos such as '{photos[0].name}', but neither "
            "masks (PNG, BMP, TIFF) nor polygons (COCO, YOLO, LabelMe) beside them"
        )
    kind = find_kind(annotations)
    if kind == "coco":
        return _find_coco(photos, annotations, kind)
    folder, splits = describe_folders(photos, "photos")
    mask_folder, mask_splits = describe_folders(annotations, "masks")
    if mask_splits and not splits:
        raise ValueError("the masks lie in folders of splits, the photos do not")
    names, mask_names = [_stem(m) for m in photos], [_stem(m) for m in annotations]
    (before, after), (mask_before, mask_after) = pair_names(names, mask_names)
    if ("{folder}" in folder) != ("{folder}" in mask_folder):
        raise ValueError("photos and masks do not lie in folders of the same names")
    return Layout(
        f"{folder}{before}{{name}}{after}{_extension(photos)}",
        f"{mask_folder}{mask_before}{{name}}{mask_after}{_extension(annotations)}",
        kind,
        splits,
        annotations,
    )


def divide(members: Sequence[Member]) -> tuple[list[Member], list[Member]]:
    """Divides files into photos and annotations: by the names of their folders, else by kind."""
    pictures = [m for m in members if _suffix(m) in SUFFIXES]
    named = [m for m in members if _is_in_annotation_folder(m)]
    polygons = [m for m in members if _suffix(m) in (".json", ".txt") and not _is_list(m)]
    photos = [m for m in pictures if m not in named]
    annotated = [m for m in named if m in pictures] or [m for m in named if m in polygons]
    if annotated:
        return photos, annotated
    if polygons:
        return pictures, polygons
    lossy = [m for m in pictures if _suffix(m) in LOSSY]
    others = [m for m in pictures if _suffix(m) not in LOSSY]
    if lossy and others:
        return lossy, others
    stems = sorted(_full_stem(m) for m in pictures)
    ends = Counter(b.removeprefix(a) for a, b in pairwise(stems) if b[: len(a)] == a)
    end, times = ends.most_common(1)[0] if ends else ("", 0)
    if times * 4 < len(pictures):
        return pictures, []
    marked = {stem for stem in stems if stem.endswith(end)}
    masks = [m for m in pictures if _full_stem(m) in marked]
    return [m for m in pictures if m not in masks], masks


def find_kind(annotations: Sequence[Member]) -> Kind:
    first = annotations[0]
    if _suffix(first) == ".txt":
        return "yolo"
    if _suffix(first) != ".json":
        return "pictures"
    head = decode_text(first.read(), first.place)
    return "labelme" if '"shapes"' in head and '"categories"' not in head else "coco"


def describe_folders(members: Sequence[Member], what: str) -> tuple[str, dict[str, str]]:
    """Returns the pattern of the files' folder, which ends with "/", and the folders of splits."""
    rows = [PurePosixPath(m.name).parts[:-1] for m in members]
    if len({len(row) for row in rows}) > 1:
        examples = {len(row): m.name for row, m in zip(rows, members, strict=True)}
        shown = " and ".join(f"'{name}'" for name in list(examples.values())[:2])
        raise ValueError(f"the {what} lie at several depths ({shown}); expected one")
    parts, splits = [], {}
    for column in zip(*rows, strict=True):
        found = {SPLITS.get(value.lower(), ""): value for value in sorted(set(column))}
        if "" not in found and "train" in found and len(found) > 1 and not splits:
            splits = found
            parts.append("{split}")
        elif len(set(column)) == 1:
            parts.append(column[0])
        elif "{folder}" not in parts:
            parts.append("{folder}")
        else:
            raise ValueError(f"the {what} lie in folders of folders; expected one level")
    return "".join(f"{part}/" for part in parts), splits


def pair_names(photos: Sequence[str], masks: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Finds what stands before and after the common part in the names of photos and masks.

    ValueError with examples if none are alike.
    """
    best, chosen = 0, (("", ""), ("", ""))
    for ours in _list_affixes(photos):
        cores = {core for name in photos if (core := _cut(name, *ours))}
        for theirs in _list_affixes(masks):
            pairs = len(cores & {core for name in masks if (core := _cut(name, *theirs))})
            if pairs > best:
                best, chosen = pairs, (ours, theirs)
    if not best:
        raise ValueError(
            f"no photo and mask have names that are alike: there are '{photos[0]}' and '{masks[0]}'"
        )
    return chosen


def _list_affixes(names: Sequence[str]) -> Iterable[tuple[str, str]]:
    before = re.sub(r"[0-9]+\Z", "", _share_start(names))
    after = re.sub(r"\A[0-9]+", "", _share_start([name[::-1] for name in names])[::-1])
    return dict.fromkeys([("", ""), ("", after), (before, ""), (before, after)])


def _share_start(names: Sequence[str]) -> str:
    """Returns the characters with which all names begin."""
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False))
    return "".join(column[0] for column in columns)


def _cut(name: str, before: str, after: str) -> str:
    long_enough = len(name) > len(before) + len(after)
    fits = long_enough and name.startswith(before) and name.endswith(after)
    return name[len(before) : len(name) - len(after)] if fits else ""


def _find_boxes(source: Source, photos: list[Member]) -> Layout:
    if not (files := [member for member in source if _suffix(member) == ".json"]):
        raise ValueError(
            f"{source.describe()}: {len(photos)} photos such as '{photos[0].name}', but no JSON of "
            "COCO's form with boxes beside them"
        )
    return _find_coco(photos, files, "boxes")


def _find_coco(photos: list[Member], annotations: list[Member], kind: Kind) -> Layout:
    """COCO's files are one for each split, or a single one."""
    folder, splits = describe_folders(photos, "photos")
    place, _ = describe_folders(annotations, "COCO files")
    names = {IN_NAME.sub("{split}", PurePosixPath(m.name).name, 1) for m in annotations}
    stems = [match[1] for m in annotations if (match := IN_NAME.search(_stem(m)))]
    several = len(annotations) > 1
    if several and not splits:
        splits = {SPLITS[stem]: stem for stem in stems}
    if len(names) > 1 or (several and not {"train"} < splits.keys()):
        raise ValueError(
            f"{len(annotations)} COCO files such as '{annotations[0].name}': expected one, or one "
            "for each split with its name (train, val) in it"
        )
    file = place + min(names) if several else annotations[0].name
    return Layout(f"{folder}{{name}}{_extension(photos)}", file, kind, splits, annotations)


def _extension(members: Sequence[Member]) -> str:
    found = {_suffix(member) for member in members}
    return min(found) if len(found) == 1 else ".*"


def _is_in_annotation_folder(member: Member) -> bool:
    folders = PurePosixPath(member.name).parts[:-1]
    return any(folder.lower() in ANNOTATION_FOLDERS for folder in folders)


def _is_list(member: Member) -> bool:
    return PurePosixPath(member.name).name.lower() in NO_POLYGONS


def _suffix(member: Member) -> str:
    return PurePosixPath(member.name).suffix.lower()


def _stem(member: Member) -> str:
    return PurePosixPath(member.name).stem


def _full_stem(member: Member) -> str:
    return str(PurePosixPath(member.name).with_suffix(""))
