"""PASCAL Context: 60 classes (0 = background) on the photos of VOC 2010.

Mottaghi et al., "The Role of Context for Object Detection and Semantic Segmentation in the Wild",
CVPR 2014. Three kinds of annotation are read, in this order:
  SegmentationClassContext/*.png   0..59, with ImageSets/SegmentationContext/{train,val}.txt
  trainval_merged.json             "PASCAL in Detail": one run-length mask per object and region
  trainval.tar.gz                  the original .mat files (LabelMap, 1..459), VOC's Main lists
The label table, not this reader, decides whether 0 is a class (60) or ignored (59).
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from lemore.data.archives.masks import decode_label
from lemore.data.archives.members import Member
from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample, read_list
from lemore.data.readers import rle
from lemore.data.readers.matlab import read_variable
from lemore.data.readers.pascal_ids import SPARSE_IDS

JSON_NAME = r"trainval_merged\.json"
PNG_NAME = r"SegmentationClassContext/([^/]+)\.png"


def list_samples(source: Source, split: str) -> Iterator[RawSample]:
    """Samples of 'train' or 'val', sorted by name (2008_000002, ...)."""
    photos = source.match(r"VOC2010/JPEGImages/([^/]+)\.jpg")
    annotations: dict[str, Any]
    if masks := source.match(PNG_NAME):
        names = read_list(source, f"ImageSets/SegmentationContext/{split}.txt")
        annotations = {name: masks.get(name) for name in names}
    elif document := source.find_one(JSON_NAME):
        annotations = _read_json(document, split)
    else:
        annotations = _find_mats(source, split)
    for name in sorted(annotations):
        yield RawSample(name, photos.get(name), annotations[name])


def describe_annotation(source: Source) -> str:
    if source.match(PNG_NAME):
        return "SegmentationClassContext PNG 0..59"
    if source.find_one(JSON_NAME):
        return "trainval_merged.json"
    return "original .mat files (459 classes)"


def read_label(label: Any, size: tuple[int, int]) -> np.ndarray:
    """H x W uint8, 0..59."""
    if isinstance(label, list):
        return _paint(label, size)
    if label.name.endswith(".png"):
        return decode_label(label.read())
    raw = np.asarray(read_variable(label, "LabelMap"))
    if raw.min() < 0 or raw.max() > 459:
        raise ValueError(f"LabelMap holds {raw.min()} to {raw.max()}, expected 0 to 459")
    table = np.zeros(460, np.uint8)
    table[SPARSE_IDS] = np.arange(len(SPARSE_IDS))
    return table[raw]


def _find_mats(source: Source, split: str) -> dict[str, Member]:
    """Reads VOC's train or val list where a .mat exists: the original set has no lists."""
    masks = source.match(r"(?:trainval/)?(\d{4}_\d{6})\.mat")
    if not masks:
        known = "trainval_merged.json, SegmentationClassContext/*.png or trainval.tar.gz"
        raise ValueError(f"{source.describe()}: no annotations ({known})")
    names = read_list(source, f"ImageSets/Main/{split}.txt")
    return {name: masks[name] for name in names if name in masks}


def _read_json(document: Member, split: str) -> dict[str, list[tuple[int, dict]]]:
    """Reads (category id, mask) in the file's order, by image stem."""
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


def _paint(masks: list[tuple[int, dict]], size: tuple[int, int]) -> np.ndarray:
    """Paints masks one over the other in the file's order, as the "detail" API does."""
    label = np.zeros(size, np.uint8)
    try:
        for category, mask in masks:
            position = int(np.searchsorted(SPARSE_IDS, category))
            if position == len(SPARSE_IDS) or SPARSE_IDS[position] != category:
                raise ValueError(f"category id {category} is none of the 59 classes")
            if tuple(mask["size"]) != size:
                raise ValueError(f"mask is {tuple(mask['size'])}, image {size} (H, W)")
            label[rle.decode(mask)] = position
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"not a run-length mask ({error!r})") from None
    return label
