"""The score stage: mIoU and its companions from two folders of label PNGs."""

import io
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
from lemore.runtime.progress import show_progress

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


def score(
    predictions: Path,
    truth: Path,
    patterns: tuple[str, str],
    *,
    dataset: str | None,
    dataset_config: Path | None,
    num_classes: int | None,
    ignore_index: int | None,
    output: Path | None,
) -> str:
    """Scores the pairs of two folders, writes the JSON if asked to, and returns a table to read.

    Values are raw ones of `dataset`, or 0..num_classes-1 where that is None.
    """
    coding = choose_coding(dataset, dataset_config, num_classes, ignore_index)
    pairs = find_pairs(predictions, truth, patterns)
    confusion = Confusion(coding.num_classes, coding.ignore_index)
    for prediction, label in show_progress(pairs, "score", unit="image"):
        add_pair(confusion, coding, prediction, label)
    results = confusion.compute_measures()
    if output is not None:
        write_json(output, results)
    return format_table(results, coding.names, len(pairs))


def choose_coding(
    dataset: str | None,
    dataset_config: Path | None,
    num_classes: int | None,
    ignore_index: int | None,
) -> Coding:
    """Returns the coding that the options ask for; ValueError if they do not fit together."""
    if dataset is None:
        if ignore_index is None:
            raise ValueError("--num-classes needs --ignore-index (255 in most codings)")
        if dataset_config is not None:
            raise ValueError("--dataset-config goes with --dataset, not with --num-classes")
        assert num_classes is not None
        names = tuple(str(k) for k in range(num_classes))
        return Coding(num_classes, ignore_index, names, lambda p, t: (p, t))
    if ignore_index is not None:
        raise ValueError("--ignore-index goes with --num-classes; --dataset knows its own")
    path = dataset_config or DATASETS / f"{dataset}.yaml"
    if dataset_config is None and not path.is_file():
        known = sorted(p.stem for p in DATASETS.glob("*.yaml"))
        raise ValueError(f"no dataset '{dataset}'{did_you_mean(dataset, known)}")
    config = load(DatasetConfig, path)
    if config.labels is None:
        raise ValueError(f"dataset '{dataset}' is not one of segmentation")
    return make_raw_coding(labels.load(config.labels))


def make_raw_coding(table: labels.LabelTable) -> Coding:
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


def find_pairs(
    predictions: Path, truth: Path, patterns: tuple[str, str] = (PLAIN, PLAIN)
) -> list[tuple[Path, Path]]:
    """Pairs the paths of predictions and labels by name; ValueError names what has no partner."""
    found, wanted = list_pngs(predictions, patterns[0]), list_pngs(truth, patterns[1])
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


def list_pngs(folder: Path, pattern: str) -> dict[str, Path]:
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


def format_table(results: dict[str, Any], names: tuple[str, ...], images: int) -> str:
    """Returns a table in percent, a class per line, for reading."""
    pixels = [sum(row) for row in results["confusion"]]
    width = max(len(name) for name in (*names, "class"))
    lines = [f"{'class':<{width}}  {'IoU %':>7}  {'acc %':>7}  {'pixels':>12}"]
    for name, *values, count in zip(names, results["iou"], results["acc"], pixels, strict=True):
        iou, acc = (format_percent(value) for value in values)
        lines.append(f"{name:<{width}}  {iou:>7}  {acc:>7}  {count:>12}")
    means = [f"{key} {format_percent(results[key])}" for key in ("miou", "aacc", "macc", "fwiou")]
    return "\n".join([*lines, f"{images} images: " + "  ".join(means)])


def format_percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
