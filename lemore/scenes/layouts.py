"""Drawn scenes packed like the genuine datasets: same archives, folders, file names, codings.

One function per reader takes the drawn pictures of every split and returns the archives. They pass
through the same fetch and prepare as genuine ones.
"""

import gzip
import json
from collections.abc import Callable
from functools import partial
from itertools import islice

import numpy as np

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.data.prepare.parallel import map_in_order
from lemore.data.readers import rle
from lemore.data.readers.pascal_ids import SPARSE_IDS
from lemore.runtime.progress import show_progress
from lemore.scenes.archives import Files, pack_mat, pack_tar, pack_zip
from lemore.scenes.drawing.singles import OBJECTS
from lemore.scenes.pictures import ScenePicture, draw_encoded

CITIES = {"train": ["aachen", "bochum", "cologne", "ulm"], "val": ["frankfurt", "lindau"]}
Splits = dict[str, list[ScenePicture]]


def draw_archives(name: str, config: DatasetConfig, workers: int) -> Files:
    """Draws every scene of the dataset and packs it: (archive name, bytes) of each archive."""
    if config.reader not in LAYOUTS:
        raise ValueError(f"no scenes in the layout of reader '{config.reader}'")
    counts = {split: count or 0 for split, count in config.splits.items()}
    total = sum(counts.values())
    drawn = map_in_order(partial(draw_encoded, config), range(total), workers)
    pictures = iter(list(show_progress(drawn, f"draw {name}", total, "scenes")))
    splits = {split: list(islice(pictures, count)) for split, count in counts.items()}
    return LAYOUTS[config.reader](splits)


def _number(splits: Splits) -> list[tuple[int, str, ScenePicture]]:
    """Yields (number from 1 over all splits, split, picture)."""
    pictures = [(split, picture) for split, drawn in splits.items() for picture in drawn]
    return [(number, *pair) for number, pair in enumerate(pictures, 1)]


def _join_lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _pack_ade20k(splits: Splits) -> Files:
    root, files, categories = "ADEChallengeData2016", Files(), []
    for split, folder in (("train", "training"), ("val", "validation")):
        for number, picture in enumerate(splits[split], 1):
            stem = f"ADE_{split}_{number:08d}"
            files.append((f"{root}/images/{folder}/{stem}.jpg", picture.image))
            files.append((f"{root}/annotations/{folder}/{stem}.png", picture.label))
            categories.append(f"{stem} misc")
    names = labels.load("ade20k").names
    rows = [f"{k}\t0\t0\t0\t{name}" for k, name in enumerate(names, 1)]
    info = _join_lines(["Idx\tRatio\tTrain\tVal\tName", *rows])
    files.append((f"{root}/objectInfo150.txt", info))
    files.append((f"{root}/sceneCategories.txt", _join_lines(categories)))
    return [(f"{root}.zip", pack_zip(files))]


def _pack_cityscapes(splits: Splits) -> Files:
    photos, masks = Files(), Files()
    for split, pictures in splits.items():
        cities = CITIES[split]
        for number, picture in enumerate(pictures):
            city = cities[number % len(cities)]
            stem = f"{split}/{city}/{city}_{number // len(cities):06d}_000019"
            photos.append((f"leftImg8bit/{stem}_leftImg8bit.png", picture.image))
            masks.append((f"gtFine/{stem}_gtFine_labelIds.png", picture.label))
            masks.append((f"gtFine/{stem}_gtFine_color.png", picture.color))
    packed = {"leftImg8bit": pack_zip(photos), "gtFine": pack_zip(masks)}
    return [(f"{name}_trainvaltest.zip", content) for name, content in packed.items()]


def _pack_pascal_context(splits: Splits) -> Files:
    root, files, images, annotations = "VOCdevkit/VOC2010", Files(), [], []
    lists: dict[str, list[str]] = {split: [] for split in splits}
    for number, split, picture in _number(splits):
        stem, image_id = f"2008_{number:06d}", 2008000000 + number
        lists[split].append(stem)
        files.append((f"{root}/JPEGImages/{stem}.jpg", picture.image))
        image = {"image_id": image_id, "file_name": f"{stem}.jpg", "phase": split}
        images.append({**image, "height": picture.size[0], "width": picture.size[1]})
        for category, mask in picture.label:
            ids = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category}
            area = int(rle.decode(mask).sum())
            rest = {"segmentation": mask, "area": area, "iscrowd": 0, "parts": []}
            annotations.append({**ids, **rest})
    files += [
        (f"{root}/ImageSets/Main/{split}.txt", _join_lines(stems)) for split, stems in lists.items()
    ]
    names = labels.load("pascal_context_60").names
    document = {
        "info": {"description": "drawn scenes in the coding of PASCAL in Detail"},
        "images": images,
        "categories": [
            {"category_id": int(SPARSE_IDS[k]), "name": names[k], "onlysemantic": 1}
            for k in range(1, len(names))
        ],
        "annos_segmentation": annotations,
        **{key: [] for key in ("parts", "annos_occlusion", "annos_boundary")},
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    return [("VOCtrainval_03-May-2010.tar", pack_tar(files)), ("trainval_merged.json", text)]


def _pack_coco_stuff_10k(splits: Splits) -> Files:
    files, lists = Files(), {"train": [], "test": [], "all": []}
    for number, split, picture in _number(splits):
        stem = f"COCO_train2014_{number:012d}"
        lists["train" if split == "train" else "test"].append(stem)
        lists["all"].append(stem)
        files.append((f"images/{stem}.jpg", picture.image))
        files.append((f"annotations/{stem}.mat", picture.label))
    files += [(f"imageLists/{name}.txt", _join_lines(stems)) for name, stems in lists.items()]
    return [("cocostuff-10k-v1.1.zip", pack_zip(files))]


def _pack_coco_detection(splits: Splits) -> Files:
    table = labels.load("coco")
    categories = [
        {"id": number, "name": name, "supercategory": "drawn"}
        for number, name in zip(table.raw_ids, table.names, strict=True)
    ]
    photos: dict[str, Files] = {split: [] for split in splits}
    content = {split: {"images": [], "annotations": []} for split in splits}
    for number, split, picture in _number(splits):
        file, (height, width) = f"{number:012d}.jpg", picture.size
        photos[split].append((f"{split}2017/{file}", picture.image))
        image = {"id": number, "file_name": file, "height": height, "width": width}
        content[split]["images"].append(image)
        for found in picture.label:
            place = {"id": len(content[split]["annotations"]) + 1, "image_id": number}
            content[split]["annotations"].append(place | found)
    files = [
        (
            f"annotations/instances_{split}2017.json",
            json.dumps({**lists, "categories": categories}, separators=(",", ":")).encode(),
        )
        for split, lists in content.items()
    ]
    archives = [(f"{split}2017.zip", pack_zip(found)) for split, found in photos.items()]
    return [*archives, ("annotations_trainval2017.zip", pack_zip(files))]


def _pack_imagenet(splits: Splits) -> Files:
    inner: dict[str, Files] = {wnid: [] for wnid in OBJECTS}
    for number, picture in enumerate(splits["train"], 1):
        wnid = list(OBJECTS)[picture.label]
        inner[wnid].append((f"{wnid}_{number}.JPEG", picture.image))
    train = [(f"{wnid}.tar", pack_tar(files)) for wnid, files in inner.items()]
    order = np.random.Generator(np.random.Philox(key=[0, 0])).permutation(len(splits["val"]))
    shuffled = [splits["val"][int(i)] for i in order]
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, len(order) + 1)]
    val = list(zip(names, (picture.image for picture in shuffled), strict=True))
    kit = pack_tar(_make_devkit([picture.label for picture in shuffled]))
    return [
        ("ILSVRC2012_img_train.tar", pack_tar(train)),
        ("ILSVRC2012_img_val.tar", pack_tar(val)),
        ("ILSVRC2012_devkit_t12.tar.gz", gzip.compress(kit, mtime=0)),
    ]


def _make_devkit(truth: list[int]) -> Files:
    """Makes the ground truth in the kit's own numbering, not the order of wnids, with one inner
    node of the hierarchy after the leaves, as in the genuine kit."""
    count, root = len(OBJECTS), "ILSVRC2012_devkit_t12/data"
    kit_ids = [1 + (3 * number + 5) % count for number in range(count)]
    rows = [(k, wnid, OBJECTS[wnid][0], 0, []) for k, wnid in zip(kit_ids, OBJECTS, strict=True)]
    rows = [*sorted(rows), (count + 1, "n00001740", "entity", count, list(range(1, count + 1)))]
    fields = "ILSVRC2012_ID WNID words gloss num_children children wordnet_height num_train_images"
    synsets = np.zeros((len(rows), 1), [(field, object) for field in fields.split()])
    for i, (kit_id, wnid, words, inside, children) in enumerate(rows):
        node = (float(inside), np.array(children, float), float(inside > 0), 0.0)
        synsets[i, 0] = (float(kit_id), wnid, words, "drawn", *node)
    text = _join_lines([str(kit_ids[number]) for number in truth])
    return [
        (f"{root}/ILSVRC2012_validation_ground_truth.txt", text),
        (f"{root}/meta.mat", pack_mat({"synsets": synsets})),
    ]


LAYOUTS: dict[str, Callable[[Splits], Files]] = {
    "ade20k": _pack_ade20k,
    "cityscapes": _pack_cityscapes,
    "pascal_context": _pack_pascal_context,
    "coco_stuff_10k": _pack_coco_stuff_10k,
    "coco_detection": _pack_coco_detection,
    "imagenet": _pack_imagenet,
}
