"""Finds the classes of unknown masks, polygons or boxes: by their colours, values, labels or
numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lemore.config.read import parse_mapping
from lemore.config.values import is_line
from lemore.data.archives.masks import decode_mask
from lemore.data.archives.members import Member
from lemore.data.archives.source import Source
from lemore.data.guess.layout import LOSSY, Layout
from lemore.data.readers import coco, coco_boxes, labelme
from lemore.data.readers.points import parse_json, show
from lemore.runtime.files import decode_text

MOST = 64  # classes; more colours or values are those of smooth edges or of a photo
LOOKED_AT = 2000  # masks, spread over all
DARK, BRIGHT = 64, 191  # what a lossy mask has of two values lies outside
BACKGROUND = "background"
NO_CLASS = {"void", "unlabelled", "unlabeled", "ignore", "ignored", "unknown", "_ignore_"}
COLOR = re.compile(r"(\d+)[\s,;]+(\d+)[\s,;]+(\d+)")
Color = tuple[int, ...]  # R, G, B


@dataclass(frozen=True)
class Coding:
    """The keys `files` and `classes` of a dataset's YAML for its masks. `assumed`: what its owner
    should look at, in words."""

    files: dict[str, Any]
    classes: list[dict[str, Any]]
    assumed: list[str]


def find_coding(source: Source, layout: Layout) -> Coding:
    """Finds the coding of a layout's annotations; ValueError if they show no two classes, or boxes
    none."""
    if layout.kind == "boxes":
        return _find_boxes(source, layout.annotations)
    coding = {
        "pictures": _find_masks, "coco": _find_coco, "yolo": _find_yolo, "labelme": _find_labelme,
    }[layout.kind](source, layout.annotations)  # fmt: skip
    if len(coding.classes) < 2:
        shown = ", ".join(str(row["name"]) for row in coding.classes) or "none"
        raise ValueError(f"the masks show fewer than two classes ({shown}); nothing can be learned")
    return coding


def _find_masks(source: Source, masks: Sequence[Member]) -> Coding:
    chosen = [masks[i] for i in sorted(set(np.linspace(0, len(masks) - 1, LOOKED_AT, dtype=int)))]
    pixels, in_color = _count(chosen, indices=True)
    if in_color:
        pixels, _ = _count(chosen, indices=False)
        return _describe_colors(pixels, _read_colors(source))
    if len(pixels) > MOST or masks[0].name.lower().endswith(LOSSY):
        return _describe_lossy(pixels, masks[0])
    return _describe_values(pixels, _read_names(source))


def _count(masks: Sequence[Member], indices: bool) -> tuple[Counter[Any], bool]:
    """Counts the masks' pixels by value (`indices`) or by `Color`.

    Returns them, and whether a mask has colours; of values the count then ends.
    """
    pixels: Counter[Any] = Counter()
    in_color = False
    for mask in masks:
        try:
            values = decode_mask(mask.read(), indices=indices, lossy=True)
        except ValueError:
            continue  # prepare names it
        in_color |= values.ndim == 3
        if in_color and indices:
            return pixels, True
        if not indices and values.ndim == 2:
            values = np.dstack([values] * 3)
        codes = values if indices else values.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
        for code, number in zip(*np.unique(codes, return_counts=True), strict=True):
            key = int(code)
            pixels[key if indices else (key >> 16, key >> 8 & 255, key & 255)] += int(number)
    return pixels, in_color


def _describe_colors(pixels: Counter[Color], names: dict[Color, str]) -> Coding:
    if len(pixels) > MOST:
        raise ValueError(
            f"the masks hold {len(pixels)} colours, expected at most {MOST}, one for each class: "
            "their edges are smoothed, or they are photos or JPEGs; save them as PNG without "
            "smoothing"
        )
    order = [color for color, _ in pixels.most_common()]
    if names:
        order = [color for color in names if color in pixels] + [c for c in order if c not in names]
    named = [(names.get(color, f"color {'-'.join(map(str, color))}"), color) for color in order]
    ignored = [(name, color) for name, color in named if name.lower() in NO_CLASS]
    classes = [
        {"name": name, "color": list(color)}
        for name, color in named
        if name.lower() not in NO_CLASS
    ]
    files: dict[str, Any] = {"mask": "color"}
    files |= {"ignore": [list(color) for _, color in ignored]} if ignored else {}
    assumed = [f"{name} is no class, by its name" for name, _ in ignored]
    if not names:
        assumed = [
            "names of the classes: their colours stand for them; write yours under `classes`",
            "every colour is a class, black and white too; move those of no class to `ignore`",
        ]
    return Coding(files, classes, assumed)


def _describe_values(pixels: Counter[int], names: list[str]) -> Coding:
    values = sorted(pixels)
    ignored = [255] if len(values) > 2 and values[-1] == 255 else []
    values = [value for value in values if value not in ignored]
    assumed = ["255 is no class; if it is one, move it from `ignore` to `classes`"] * bool(ignored)
    if len(values) == 2 and values[0] == 0 and not names:
        named = [(0, BACKGROUND), (values[1], "object")]
        assumed.append(f"0 is the background and {values[1]} the object")
    elif len(names) > max(values):
        unnamed = [k for k, name in enumerate(names) if name.lower() in NO_CLASS]
        assumed += [f"{names[k]} is no class, by its name" for k in unnamed]
        ignored = sorted({*ignored, *unnamed})
        named = [(k, name) for k, name in enumerate(names) if k not in ignored]
    else:
        named = [(value, f"class {value}") for value in values]
        assumed.append("names of the classes: their values stand for them; write yours")
    classes = [{"name": name, "values": [value]} for value, name in named]
    files: dict[str, Any] = {"mask": "index"} | ({"ignore": ignored} if ignored else {})
    return Coding(files, classes, assumed)


def _describe_lossy(pixels: Counter[int], first: Member) -> Coding:
    """Values of a lossy compression are those of two classes if nearly all are dark or bright."""
    between = sum(n for value, n in pixels.items() if DARK <= value <= BRIGHT)
    if between > 0.05 * pixels.total():
        raise ValueError(
            f"the masks, such as {first.place}, hold {len(pixels)} values, expected at most "
            f"{MOST}, one for each class: are they photos?"
        )
    classes = [{"name": BACKGROUND}, {"name": "object"}]
    return Coding({"mask": "binary", "threshold": 127}, classes, ["above 127 is the object"])


def _find_boxes(source: Source, files: Sequence[Member]) -> Coding:
    """Every category is a class, as the reader has it."""
    names = coco_boxes.read_categories(source, files).values()
    if not names:
        raise ValueError(f"{files[0].place}: names no category; nothing can be learned")
    return Coding({"mask": "coco"}, [{"name": name} for name in names], [])


def _find_coco(source: Source, files: Sequence[Member]) -> Coding:
    names: dict[int, str] = {}
    for member in files:
        content = coco.parse_file(member, _shorten)
        with coco.refuse_foreign(member.place):
            entries = content["annotations"]
            used = {entry["category_id"] for entry in entries}
            found = coco.read_names(content, member.place)
            names |= {number: found[number] for number in used & found.keys()}
            names = dict(sorted(names.items()))
            drawn = any(entry.get("segmentation") for entry in entries)
        if entries and not drawn:
            raise ValueError(
                f"{member.place}: no annotation has a polygon; boxes are for a --model that "
                "detects, such as retinanet_lemore"
            )
    return _describe_polygons("coco", list(names.values()))


def _shorten(entry: dict) -> dict:
    """Keeps of a polygon only whether it has points."""
    return {key: bool(value) if key == "segmentation" else value for key, value in entry.items()}


def _find_labelme(source: Source, files: Sequence[Member]) -> Coding:
    found: set[str] = set()
    for member in files:
        content = parse_json(member.read(), member.place)
        if isinstance(content, dict) and "shapes" not in content:
            continue  # of another program; prepare names it if it is a photo's
        try:
            found.update(labelme.list_labels(content))
        except ValueError as error:
            raise ValueError(f"{member.place}: {error}") from None
    return _describe_polygons("labelme", sorted(found))


def _find_yolo(source: Source, files: Sequence[Member]) -> Coding:
    lines = (line for m in files for line in decode_text(m.read(), m.place).splitlines())
    first = {words[0] for line in lines if (words := line.split())}
    numbers = {int(word) for word in first if word.isdecimal() and len(word) < 4}  # of 255 classes
    names, most = _read_names(source), max(numbers, default=-1) + 1
    classes = names if len(names) >= most else [f"class {number}" for number in range(most)]
    return _describe_polygons("yolo", classes)


def _describe_polygons(kind: str, names: list[str]) -> Coding:
    ignored = [name for name in names if name.lower() in NO_CLASS] if kind != "yolo" else []
    names = [name for name in names if name not in ignored]
    classes = names if BACKGROUND in names else [*names, BACKGROUND]
    files: dict[str, Any] = {"mask": kind, "unlabelled": BACKGROUND}
    files |= {"ignore": ignored} if ignored else {}
    assumed = [f"{name} is no class, by its name" for name in ignored]
    assumed.append("what no polygon covers is the background; `unlabelled: ignore` leaves it out")
    return Coding(files, [{"name": name} for name in classes] if names else [], assumed)


def _read_names(source: Source) -> list[str]:
    """Reads the names of numbered classes: classes.txt, a line each, or `names` of a data.yaml."""
    for member in source:
        file = member.name.rsplit("/", 1)[-1].lower()
        if file in ("classes.txt", "obj.names", "codes.txt"):
            return _read_lines(member)
        if file in ("data.yaml", "dataset.yaml"):
            return _read_yolo_names(member)
    return []


def _read_lines(member: Member) -> list[str]:
    lines = decode_text(member.read(), member.place).rstrip().splitlines()
    names = [line.strip() for line in lines]
    if "" in names:
        raise ValueError(
            f"{member.place}: line {names.index('') + 1} is empty, expected the name of a class"
        )
    return names


def _read_yolo_names(member: Member) -> list[str]:
    names = parse_mapping(member.read(), member.place).get("names", [])
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    plain = isinstance(names, list) and all(isinstance(name, str | int | float) for name in names)
    if not plain or not all(is_line(str(name)) for name in names):
        raise ValueError(
            f"{member.place}: names is {show(names)}, expected a list of names in one line each, "
            "or one for each number from 0 on"
        )
    return list(map(str, names))


def _read_colors(source: Source) -> dict[Color, str]:
    """Reads the names of colours: a text in whose lines three numbers and a name stand."""
    for member in source:
        if member.name.lower().endswith((".txt", ".csv")) and member.size < 1 << 16:
            named: dict[Color, str] = {}
            for line in decode_text(member.read(), member.place).splitlines():
                if found := COLOR.search(line):
                    name = (line[: found.start()] + line[found.end() :]).strip(" \t,;:")
                    named[tuple(map(int, found.groups()))] = name
            if len(named) > 1 and all(named.values()):
                return named
    return {}
