"""PASCAL Context: 60 classes (0 = background) on the photos of VOC 2010.

Mottaghi et al., "The Role of Context for Object Detection and Semantic Segmentation in the Wild",
CVPR 2014. Three kinds of annotation are read, in this order:
  SegmentationClassContext/*.png   0..59, with ImageSets/SegmentationContext/{train,val}.txt
  trainval_merged.json             "PASCAL in Detail": one run-length mask per object and region
  trainval.tar.gz                  the original .mat files (LabelMap, 1..459), VOC's Main lists
Whether 0 is a class (60) or ignored (59) is said by the label table, not here.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from lemore.data.archives import matlab, rle
from lemore.data.archives.archives import Member
from lemore.data.archives.images import decode_label
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample, listed
from lemore.data.readers.pascal_ids import SPARSE_IDS

JSON_NAME = r"trainval_merged\.json"


def samples(source: Source, split: str) -> Iterator[RawSample]:
    """Samples of 'train' or 'val', sorted by name (2008_000002, ...)."""
    photos = source.match(r"VOC2010/JPEGImages/([^/]+)\.jpg")
    if source.match(r"SegmentationClassContext/([^/]+)\.png"):
        annotations: dict[str, Any] = _png_annotations(source, split)
    elif document := source.one(JSON_NAME):
        annotations = _json_annotations(document, split)
    else:
        annotations = _mat_annotations(source, split)
    for name in sorted(annotations):
        yield RawSample(name, photos.get(name), annotations[name])


def annotation(source: Source) -> str:
    if source.match(r"SegmentationClassContext/([^/]+)\.png"):
        return "SegmentationClassContext PNG 0..59"
    if source.one(JSON_NAME):
        return "trainval_merged.json"
    return "original .mat files (459 classes)"


def read_label(label: Any, size: tuple[int, int]) -> np.ndarray:
    """H x W uint8, 0..59."""
    if isinstance(label, list):
        return _painted(label, size)
    if label.name.endswith(".png"):
        return decode_label(label.read())
    return _from_mat(label)


def _names(source: Source, folder: str, split: str) -> list[str]:
    names = listed(source, rf"ImageSets/{folder}/{split}\.txt")
    if names is None:
        raise ValueError(f"{source.describe()}: no ImageSets/{folder}/{split}.txt in it")
    return names


def _png_annotations(source: Source, split: str) -> dict[str, Member | None]:
    masks = source.match(r"SegmentationClassContext/([^/]+)\.png")
    return {name: masks.get(name) for name in _names(source, "SegmentationContext", split)}


def _mat_annotations(source: Source, split: str) -> dict[str, Member]:
    """VOC's own train and val lists, as far as a .mat exists: the original set has no lists."""
    masks = source.match(r"(?:trainval/)?(\d{4}_\d{6})\.mat")
    if not masks:
        known = "trainval_merged.json, SegmentationClassContext/*.png or trainval.tar.gz"
        raise ValueError(f"{source.describe()}: no annotations ({known})")
    return {name: masks[name] for name in _names(source, "Main", split) if name in masks}


def _json_annotations(document: Member, split: str) -> dict[str, list[tuple[int, dict]]]:
    """(category id, mask) in the file's order by image stem."""
    try:
        content = json.loads(document.read())
        by_image = defaultdict(list)
        for entry in content["annos_segmentation"]:
            by_image[entry["image_id"]].append((entry["category_id"], entry["segmentation"]))
        images = [entry for entry in content["images"] if entry["phase"] == split]
        return {
            entry["file_name"].rsplit(".", 1)[0]: by_image[entry["image_id"]] for entry in images
        }
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{document.place}: not the merged annotation file ({error!r})") from None


def _painted(masks: list[tuple[int, dict]], size: tuple[int, int]) -> np.ndarray:
    """Masks painted one over the other in the file's order, as the "detail" API does it."""
    try:
        return _paint(masks, size)
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"not a run-length mask ({error!r})") from None


def _paint(masks: list[tuple[int, dict]], size: tuple[int, int]) -> np.ndarray:
    label = np.zeros(size, np.uint8)
    for category, mask in masks:
        position = int(np.searchsorted(SPARSE_IDS, category))
        if position == len(SPARSE_IDS) or SPARSE_IDS[position] != category:
            raise ValueError(f"category id {category} is none of the 59 classes")
        if tuple(mask["size"]) != size:
            raise ValueError(f"mask is {tuple(mask['size'])}, image {size} (H, W)")
        label[rle.decode(mask)] = position
    return label


def _from_mat(label: Member) -> np.ndarray:
    raw = np.asarray(matlab.variable(label, "LabelMap"))
    if raw.min() < 0 or raw.max() > 459:
        raise ValueError(f"LabelMap holds {raw.min()} to {raw.max()}, expected 0 to 459")
    table = np.zeros(460, np.uint8)
    table[SPARSE_IDS] = np.arange(len(SPARSE_IDS))
    return table[raw]
