"""The score stage: mIoU and its companions from two folders of label PNGs."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from lemore.config.dataset import DatasetConfig
from lemore.config.labels import IGNORE, LabelTable, find_table
from lemore.config.own_files import POLYGONS
from lemore.config.read import did_you_mean, load
from lemore.data.archives.masks import decode_label
from lemore.data.archives.members import normalize_name
from lemore.data.prepare.samples import read_own_label
from lemore.evaluation.metrics import Confusion
from lemore.runtime.files import is_junk, write_json
from lemore.runtime.progress import show_progress
from lemore.runtime.shipped import list_names

DATASETS = "config/datasets"
VALUES = 1 << 16  # a PNG holds up to 16 bits
NAME = "{name}"
PLAIN = f"{NAME}.png"


def score(
    *,
    predictions: Path,
    labels: Path,
    predictions_pattern: str,
    labels_pattern: str,
    dataset: str | None,
    dataset_config: Path | None,
    num_classes: int | None,
    ignore_index: int | None,
    json: Path | None,
) -> str:
    """Scores the pairs of two folders, writes the JSON if asked to, and returns a table to read.

    Values are raw ones of `dataset`, or 0..num_classes-1 where that is None. ValueError if the
    options do not fit together.
    """
    config = table = None
    if dataset is not None:
        if ignore_index is not None:
            raise ValueError("--ignore-index goes with --num-classes; --dataset knows its own")
        config = load_config(dataset, dataset_config)
        table = find_table(config)
        num_classes, ignore_index = len(table.names), IGNORE
    if ignore_index is None:
        raise ValueError("--num-classes needs --ignore-index (255 in most codings)")
    if dataset is None and dataset_config is not None:
        raise ValueError("--dataset-config goes with --dataset, not with --num-classes")
    assert num_classes is not None
    confusion = Confusion(num_classes, ignore_index)
    pairs = find_pairs(predictions, labels, (predictions_pattern, labels_pattern))
    for prediction, label in show_progress(pairs, "score", unit="image"):
        add_pair(confusion, config, prediction, label)
    results = confusion.compute_measures()
    if json is not None:
        write_json(json, results)
    names = table.names if table else tuple(str(k) for k in range(num_classes))
    return format_table(results, names, len(pairs))


def load_config(dataset: str, dataset_config: Path | None) -> DatasetConfig:
    """Loads a dataset of config/, or of another configuration file."""
    known = list_names(DATASETS)
    if dataset_config is None and dataset not in known:
        raise ValueError(f"no dataset '{dataset}'{did_you_mean(dataset, known)}")
    config = load(DatasetConfig, dataset_config or f"{DATASETS}/{dataset}.yaml")
    if config.task != "segmentation":
        raise ValueError(f"dataset '{dataset}' is not one of segmentation")
    return config


def find_pairs(
    predictions: Path, truth: Path, patterns: tuple[str, str]
) -> list[tuple[Path, Path]]:
    """Pairs the paths of predictions and labels by name; ValueError names unpaired files."""
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
    """Lists name -> path of the files that match a pattern in a folder and below."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    before, after = map(re.escape, normalize_name(pattern).split(NAME))
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = normalize_name(path.name)
        match = re.fullmatch(f"{before}(.+){after}", name, re.IGNORECASE)
        if match is None or is_junk(path.relative_to(folder).as_posix()):
            continue
        if match[1] in files:
            raise ValueError(f"{path}: same name as {files[match[1]]}; pairs are by name")
        files[match[1]] = path
    if not files:
        raise ValueError(f"{folder}: no PNG file in it, looked for {pattern}")
    return files


def add_pair(
    confusion: Confusion, config: DatasetConfig | None, prediction: Path, label: Path
) -> None:
    """Counts one pair, of a dataset's raw values if one is given; ValueError names the file."""
    predicted, true = read_values(prediction, config), read_values(label, config)
    if predicted.shape != true.shape:
        sizes = " x ".join(map(str, predicted.shape)), " x ".join(map(str, true.shape))
        raise ValueError(f"{prediction}: is {sizes[0]} (H x W), but {label} is {sizes[1]}")
    try:
        if config is not None:
            predicted, true = map_values(predicted, true, find_table(config))
        confusion.update(predicted, true)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None


def map_values(
    prediction: np.ndarray, label: np.ndarray, table: LabelTable
) -> tuple[np.ndarray, np.ndarray]:
    """Maps raw values to train ids; ValueError for a label's value that the table lacks."""
    train_ids = np.full(VALUES, IGNORE, np.uint8)
    train_ids[list(table.ids)] = table.train_ids
    unknown = ~np.isin(label, table.ids)
    if unknown.any():
        listed = ", ".join(str(value) for value in np.unique(label[unknown])[:10])
        raise ValueError(f"label value {listed} is neither a class nor ignored in this dataset")
    return train_ids[prediction], train_ids[label]


def read_values(path: Path, config: DatasetConfig | None = None) -> np.ndarray:
    """Reads pixel values (H, W), uint8 or uint16: gray values, or the indices of a palette.

    Gray of less than 8 bits is refused, since it is ambiguous: PNG would stretch it to 0..255.
    Masks of an own dataset are read as prepare reads them; where it has polygons, as train ids.
    """
    try:
        if config is None or config.files is None or config.files.mask in POLYGONS:
            return decode_label(path.read_bytes(), gray_bits=(8, 16))
        return read_own_label(config, path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


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
