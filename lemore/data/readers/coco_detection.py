"""COCO 2017 for detection: train2017.zip, val2017.zip, annotations_trainval2017.zip.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014. 80 classes, whose ids run from 1
to 90 with gaps.
"""

from collections.abc import Iterator

from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample
from lemore.data.readers import coco_boxes

FILE = r"annotations/instances_({})2017\.json"
read_label = coco_boxes.make_objects


def list_categories(source: Source) -> dict[int, str]:
    """Names of the categories by id."""
    return coco_boxes.read_categories(source, source.match(FILE.format(r"\w+")).values())


def list_samples(source: Source, split: str) -> Iterator[RawSample]:
    """Samples of 'train' or 'val', sorted by name (000000000009, ...)."""
    photos = source.match(rf"{split}2017/([^/]+)\.jpg")
    member = source.find_one(FILE.format(split))
    if not photos or member is None:
        lacks = f"{split}2017/*.jpg" if member else f"annotations/instances_{split}2017.json"
        raise ValueError(f"{source.describe()}: no {lacks} in it")
    images = coco_boxes.read_images(source, member, photos)
    for name in sorted(images):
        yield RawSample(name, photos.get(name), images[name])


def describe_annotation(source: Source) -> str:
    return "boxes of instances_*2017.json"
