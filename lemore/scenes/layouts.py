"""Drawn scenes packed like the genuine datasets: same archives, folders, file names, codings.

One function per reader takes the drawn pictures of every split and returns the archives. What
comes out goes through the same fetch and prepare as the real thing.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.data.archives import rle
from lemore.data.prepare.parallel import ordered_map
from lemore.data.readers.pascal_ids import SPARSE_IDS
from lemore.runtime.progress import show_progress
from lemore.scenes import pictures as scenes
from lemore.scenes.archives import Files, gzip_bytes, mat_bytes, tar_bytes, zip_bytes
from lemore.scenes.scene_pictures import Drawn, Job, draw

CITIES = {"train": ["aachen", "bochum", "cologne", "ulm"], "val": ["frankfurt", "lindau"]}


def archives(name: str, config: DatasetConfig, workers: int) -> Files:
    """Draws every scene of the dataset and packs it: (archive name, bytes) of each archive."""
    if config.reader not in LAYOUTS:
        raise ValueError(f"no scenes in the layout of reader '{config.reader}'")
    counts = {split: count or 0 for split, count in config.splits.items()}
    total = sum(counts.values())
    drawn = ordered_map(draw, (Job(config, index) for index in range(total)), workers)
    pictures = iter(list(show_progress(drawn, f"draw {name}", total, "scenes")))
    splits = {split: [next(pictures) for _ in range(n)] for split, n in counts.items()}
    return LAYOUTS[config.reader](splits)


def _numbered(splits: dict[str, list[Drawn]]) -> Iterator[tuple[str, int, Drawn]]:
    """(split, number from 1 over all splits, picture)."""
    number = 0
    for split, pictures in splits.items():
        for picture in pictures:
            number += 1
            yield split, number, picture


def _ade20k(splits: dict[str, list[Drawn]]) -> Files:
    root, files, categories = "ADEChallengeData2016", Files(), []
    for split, folder in (("train", "training"), ("val", "validation")):
        for number, picture in enumerate(splits[split], 1):
            stem = f"ADE_{split}_{number:08d}"
            files.append((f"{root}/images/{folder}/{stem}.jpg", picture.image))
            files.append((f"{root}/annotations/{folder}/{stem}.png", picture.label))
            categories.append(f"{stem} misc\n")
    table = labels.load("ade20k")
    rows = [f"{k + 1}\t0\t0\t0\t{name}\n" for k, name in enumerate(table.names)]
    info = "Idx\tRatio\tTrain\tVal\tName\n" + "".join(rows)
    files.append((f"{root}/objectInfo150.txt", info.encode()))
    files.append((f"{root}/sceneCategories.txt", "".join(categories).encode()))
    return [("ADEChallengeData2016.zip", zip_bytes(files))]


def _cityscapes(splits: dict[str, list[Drawn]]) -> Files:
    photos, masks = Files(), Files()
    for split, pictures in splits.items():
        for number, picture in enumerate(pictures):
            city = CITIES[split][number % len(CITIES[split])]
            stem = f"{split}/{city}/{city}_{number // len(CITIES[split]):06d}_000019"
            photos.append((f"leftImg8bit/{stem}_leftImg8bit.png", picture.image))
            masks.append((f"gtFine/{stem}_gtFine_labelIds.png", picture.label))
            masks.append((f"gtFine/{stem}_gtFine_color.png", picture.color))
    return [
        ("leftImg8bit_trainvaltest.zip", zip_bytes(photos)),
        ("gtFine_trainvaltest.zip", zip_bytes(masks)),
    ]


def _pascal_context(splits: dict[str, list[Drawn]]) -> Files:
    root, files = "VOCdevkit/VOC2010", Files()
    lists: dict[str, list[str]] = {split: [] for split in splits}
    images, annotations = [], []
    for split, number, picture in _numbered(splits):
        stem = f"2008_{number:06d}"
        lists[split].append(stem)
        files.append((f"{root}/JPEGImages/{stem}.jpg", picture.image))
        image_id = int(stem.replace("_", ""))
        images.append(
            {
                "image_id": image_id,
                "file_name": f"{stem}.jpg",
                "phase": split,
                "height": picture.size[0],
                "width": picture.size[1],
            }
        )
        for category, mask in picture.label:
            annotations.append(_annotation(len(annotations) + 1, image_id, category, mask))
    for split, stems in lists.items():
        text = "".join(f"{stem}\n" for stem in stems)
        files.append((f"{root}/ImageSets/Main/{split}.txt", text.encode()))
    names = labels.load("pascal_context_60").names
    document = {
        "info": {"description": "drawn scenes in the coding of PASCAL in Detail"},
        "images": images,
        "categories": [
            {"category_id": int(SPARSE_IDS[k]), "name": names[k], "onlysemantic": 1}
            for k in range(1, len(names))
        ],
        "parts": [],
        "annos_segmentation": annotations,
        "annos_occlusion": [],
        "annos_boundary": [],
    }
    text = json.dumps(document, separators=(",", ":"))
    tar = tar_bytes(files)
    return [("VOCtrainval_03-May-2010.tar", tar), ("trainval_merged.json", text.encode())]


def _annotation(number: int, image: int, category: int, mask: dict[str, Any]) -> dict[str, Any]:
    area = int(rle.decode(mask).sum())
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": mask,
        "area": area,
        "iscrowd": 0,
        "parts": [],
    }


def _coco_stuff_10k(splits: dict[str, list[Drawn]]) -> Files:
    files, lists = Files(), {"train": [], "test": []}
    for split, number, picture in _numbered(splits):
        stem = f"COCO_train2014_{number:012d}"
        lists["train" if split == "train" else "test"].append(stem)
        files.append((f"images/{stem}.jpg", picture.image))
        files.append((f"annotations/{stem}.mat", picture.label))
    lists["all"] = sorted(lists["train"] + lists["test"])
    for name, stems in lists.items():
        files.append((f"imageLists/{name}.txt", "".join(f"{stem}\n" for stem in stems).encode()))
    return [("cocostuff-10k-v1.1.zip", zip_bytes(files))]


def _imagenet(splits: dict[str, list[Drawn]]) -> Files:
    wnids = scenes.OBJECT_CLASSES
    inner: dict[str, Files] = {wnid: [] for wnid in wnids}
    for number, picture in enumerate(splits["train"], 1):
        wnid = wnids[picture.label]
        inner[wnid].append((f"{wnid}_{number}.JPEG", picture.image))
    train = [(f"{wnid}.tar", tar_bytes(files)) for wnid, files in inner.items()]
    order = np.random.Generator(np.random.Philox(key=[0, 0])).permutation(len(splits["val"]))
    shuffled = [splits["val"][int(i)] for i in order]
    val = [
        (f"ILSVRC2012_val_{number:08d}.JPEG", picture.image)
        for number, picture in enumerate(shuffled, 1)
    ]
    kit = tar_bytes(_devkit([picture.label for picture in shuffled]))
    return [
        ("ILSVRC2012_img_train.tar", tar_bytes(train)),
        ("ILSVRC2012_img_val.tar", tar_bytes(val)),
        ("ILSVRC2012_devkit_t12.tar.gz", gzip_bytes(kit)),
    ]


def _devkit(truth: list[int]) -> Files:
    """Ground truth in the kit's own numbering, which is not the order of the wnids; one inner
    node of the hierarchy after the leaves, as in the genuine kit."""
    wnids, root = scenes.OBJECT_CLASSES, "ILSVRC2012_devkit_t12/data"
    kit_ids = {number: 1 + (3 * number + 5) % len(wnids) for number in range(len(wnids))}
    rows = [(kit_ids[k], wnid, 0, []) for k, wnid in enumerate(wnids)]
    rows.sort(key=lambda row: row[0])
    rows.append((len(wnids) + 1, "n00001740", len(wnids), list(range(1, len(wnids) + 1))))
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children"]
    fields += ["wordnet_height", "num_train_images"]
    synsets = np.zeros((len(rows), 1), [(field, object) for field in fields])
    for i, (kit_id, wnid, count, children) in enumerate(rows):
        words = scenes.OBJECT_NAMES.get(wnid, "entity")
        values = (float(kit_id), wnid, words, "drawn", float(count), np.array(children, float))
        synsets[i, 0] = (*values, float(count > 0), 0.0)
    text = "".join(f"{kit_ids[number]}\n" for number in truth)
    return [
        (f"{root}/ILSVRC2012_validation_ground_truth.txt", text.encode()),
        (f"{root}/meta.mat", mat_bytes({"synsets": synsets})),
    ]


LAYOUTS: dict[str, Callable[[dict[str, list[Drawn]]], Files]] = {
    "ade20k": _ade20k,
    "cityscapes": _cityscapes,
    "pascal_context": _pascal_context,
    "coco_stuff_10k": _coco_stuff_10k,
    "imagenet": _imagenet,
}
