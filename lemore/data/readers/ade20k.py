"""ADE20K as SceneParse150 (ADEChallengeData2016.zip): PNGs 0..150, 0 = other, never scored.

Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017.
"""

from collections.abc import Iterator

from lemore.data.archives.source import Source
from lemore.data.prepare.samples import RawSample, pair_files

FOLDERS = {"train": "training", "val": "validation"}
FULL_RELEASE = r"(?:index_ade20k\.pkl|index_ade20k\.mat|ADE_(?:train|val)_\d+_seg\.png)"


def list_samples(source: Source, split: str) -> Iterator[RawSample]:
    """Samples of 'train' or 'val', sorted by name (ADE_train_00000001, ...)."""
    folder = FOLDERS[split]
    photos = source.match(rf"images/{folder}/(ADE_\w+)\.jpg")
    if not photos and source.match(f"({FULL_RELEASE})"):
        raise ValueError(
            f"{source.describe()}: this is the full ADE20K release with some 3,000 object classes; "
            "the 150 classes of the benchmark come from ADEChallengeData2016.zip"
        )
    yield from pair_files(photos, source.match(rf"annotations/{folder}/(ADE_\w+)\.png"))


def describe_annotation(source: Source) -> str:
    return "PNG 0..150"
