"""Score label PNGs made by any program: mIoU and its companions from two folders.

Files are paired by name, whatever sub-folders they are in; where names differ, patterns say how,
and what does not fit them is passed over. With --dataset both folders hold that dataset's raw
values, as its benchmark server takes them; with --num-classes both hold train ids. A prediction
outside the classes counts as wrong; a label value that is neither a class nor ignored is refused.

Examples:
  lemore score --predictions maps --labels annotations --dataset ade20k --json score.json
  lemore score --predictions maps --labels masks --num-classes 19 --ignore-index 255
  lemore score --predictions maps --predictions-pattern "{name}_leftImg8bit.png" \\
    --labels gtFine/val --labels-pattern "{name}_gtFine_labelIds.png" --dataset cityscapes
"""

import argparse
import io
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.config.read import CONFIG, did_you_mean, load
from lemore.evaluation.metrics import Confusion
from lemore.runtime.files import write_json
from lemore.runtime.progress import progress

log = logging.getLogger(__name__)

DATASETS = CONFIG / "datasets"
VALUES = 1 << 16  # a PNG holds up to 16 bits
GRAY, PALETTE = 0, 3  # colour types in a PNG's header
NAME = "{name}"
PLAIN = f"{NAME}.png"


class Coding(NamedTuple):
    """What the pixel values of both folders mean, after `decode` of (prediction, label)."""

    num_classes: int
    ignore_index: int
    names: tuple[str, ...]
    decode: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--predictions", type=Path, required=True, help="folder of label PNGs")
    parser.add_argument("--labels", type=Path, required=True, help="folder of true label PNGs")
    for folder in ("predictions", "labels"):
        parser.add_argument(
            f"--{folder}-pattern",
            type=name_pattern,
            default=PLAIN,
            metavar="PATTERN",
            help="of its files' names; {name} is what pairs have in common",
        )
    coding = parser.add_mutually_exclusive_group(required=True)
    coding.add_argument("--dataset", help="values are this dataset's raw ones, e.g. ade20k")
    coding.add_argument("--num-classes", type=int, metavar="K", help="values are 0..K-1")
    parser.add_argument("--ignore-index", type=int, metavar="I", help="goes with --num-classes")
    parser.add_argument("--dataset-config", type=Path, metavar="F", help="in place of config/'s")
    parser.add_argument("--json", type=Path, metavar="OUT", help="file for the results")


def run(args: argparse.Namespace) -> int:
    coding = read_coding(args)
    patterns = (args.predictions_pattern, args.labels_pattern)
    pairs = find_pairs(args.predictions, args.labels, patterns)
    confusion = Confusion(coding.num_classes, coding.ignore_index)
    for prediction, label in progress(pairs, "score", unit="image"):
        add_pair(confusion, coding, prediction, label)
    results = confusion.results()
    if args.json:
        write_json(args.json, results)
    print(table(results, coding.names, len(pairs)))
    return 0


def read_coding(args: argparse.Namespace) -> Coding:
    """The coding that the arguments ask for; ValueError if they do not fit together."""
    if args.dataset is None:
        if args.ignore_index is None:
            raise ValueError("--num-classes needs --ignore-index (255 in most codings)")
        if args.dataset_config is not None:
            raise ValueError("--dataset-config goes with --dataset, not with --num-classes")
        names = tuple(str(k) for k in range(args.num_classes))
        return Coding(args.num_classes, args.ignore_index, names, lambda p, t: (p, t))
    if args.ignore_index is not None:
        raise ValueError("--ignore-index goes with --num-classes; --dataset knows its own")
    config = load(DatasetConfig, args.dataset_config or config_file(args.dataset))
    if config.labels is None:
        raise ValueError(f"dataset '{args.dataset}' is not one of segmentation")
    return raw_coding(labels.load(config.labels))


def config_file(dataset: str) -> Path:
    path = DATASETS / f"{dataset}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in DATASETS.glob("*.yaml"))
        raise ValueError(f"no dataset '{dataset}'{did_you_mean(dataset, known)}")
    return path


def raw_coding(table: labels.LabelTable) -> Coding:
    """Raw values by a label table; one that it does not list is refused where it is a label."""
    train_ids = np.full(VALUES, labels.IGNORE, dtype=np.uint8)
    train_ids[list(table.ids)] = table.train_ids
    declared = np.zeros(VALUES, dtype=bool)
    declared[list(table.ids)] = True

    def decode(prediction: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        known = declared[label]
        if not known.all():
            listed = ", ".join(str(value) for value in np.unique(label[~known])[:10])
            raise ValueError(f"label value {listed} is neither a class nor ignored in this dataset")
        return train_ids[prediction], train_ids[label]

    return Coding(len(table.names), labels.IGNORE, table.names, decode)


def name_pattern(text: str) -> str:
    if text.count(NAME) != 1 or "/" in text:
        raise argparse.ArgumentTypeError(f"'{text}', expected a file's name with {NAME} in it once")
    return text


def find_pairs(
    predictions: Path, truth: Path, patterns: tuple[str, str] = (PLAIN, PLAIN)
) -> list[tuple[Path, Path]]:
    """(prediction, label) paths by the names in them; ValueError naming what has no partner."""
    found, wanted = png_files(predictions, patterns[0]), png_files(truth, patterns[1])
    for missing, folder, there, pattern in (
        (sorted(wanted.keys() - found.keys()), predictions, wanted, patterns[0]),
        (sorted(found.keys() - wanted.keys()), truth, found, patterns[1]),
    ):
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            partner = pattern.replace(NAME, missing[0])
            raise ValueError(
                f"{there[missing[0]]}: no file '{partner}' in {folder}{more}; where names differ, "
                "give --predictions-pattern and --labels-pattern"
            )
    return [(found[name], wanted[name]) for name in sorted(wanted)]


def png_files(folder: Path, pattern: str) -> dict[str, Path]:
    """Name -> path of the files of a pattern in a folder and below."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    before, after = map(re.escape, pattern.split(NAME))
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        match = re.fullmatch(f"{before}(.+){after}", path.name, re.IGNORECASE)
        if match is None or path.name.startswith("."):
            continue
        if match[1] in files:
            raise ValueError(f"{path}: same name as {files[match[1]]}; pairs are by name")
        files[match[1]] = path
    if not files:
        raise ValueError(f"{folder}: no PNG file in it, looked for {pattern}")
    return files


def add_pair(confusion: Confusion, coding: Coding, prediction: Path, label: Path) -> None:
    """Counts one pair; ValueError names the file at fault."""
    predicted, true = read_label_png(prediction), read_label_png(label)
    if predicted.shape != true.shape:
        sizes = " x ".join(map(str, predicted.shape)), " x ".join(map(str, true.shape))
        raise ValueError(f"{prediction}: is {sizes[0]} (H x W), but {label} is {sizes[1]}")
    try:
        confusion.update(*coding.decode(predicted, true))
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None


def read_label_png(path: Path) -> np.ndarray:
    """Pixel values (H, W), uint8 or uint16: gray values, or the indices of a palette.

    Colours are refused, and so is gray of less than 8 bits: whether its values are meant to be
    stretched to 0..255, as PNG says, cannot be known.
    """
    data = path.read_bytes()
    if len(data) < 26 or data[1:4] != b"PNG":
        raise ValueError(f"{path}: not a PNG file")
    depth, colour = data[24], data[25]
    if colour not in (GRAY, PALETTE):
        raise ValueError(f"{path}: holds colours; one channel of class indices is needed")
    if colour == GRAY and depth < 8:
        raise ValueError(f"{path}: {depth}-bit gray is ambiguous; write 8 bits or a palette")
    try:
        return np.array(Image.open(io.BytesIO(data)))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: cannot be decoded ({error})") from None


def table(results: dict[str, Any], names: tuple[str, ...], images: int) -> str:
    """Per-class table in percent, for reading."""
    pixels = [sum(row) for row in results["confusion"]]
    width = max(len(name) for name in (*names, "class"))
    lines = [f"{'class':<{width}}  {'IoU %':>7}  {'acc %':>7}  {'pixels':>12}"]
    rows = zip(names, results["iou"], results["acc"], pixels, strict=True)
    for name, iou, acc, count in rows:
        lines.append(f"{name:<{width}}  {percent(iou)}  {percent(acc)}  {count:>12}")
    means = [f"{key} {percent(results[key]).strip()}" for key in ("miou", "aacc", "macc", "fwiou")]
    return "\n".join([*lines, f"{images} images: " + "  ".join(means)])


def percent(value: float | None) -> str:
    return f"{'-' if value is None else f'{100 * value:.2f}':>7}"
