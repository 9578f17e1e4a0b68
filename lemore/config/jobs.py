"""The job of each stage: one frozen dataclass per stage, the same wherever it runs.

The Snakefile writes a job as a small YAML file, its command reads it once, and stage, worker and
checkpoint carry the object. An edit to the configuration thus reruns exactly the jobs that it
changes. Sizes are (H, W) in pixels.
"""

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import CONFIG, build, dump, load, read_yaml
from lemore.config.recipe import Pretrain, Test, Train
from lemore.config.run import Backend
from lemore.runtime.files import write_atomic

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

J = TypeVar("J", bound="DataclassInstance")
MAX_CLASSES = 255  # train ids 0..254; 255 is ignored
MAX_SIDE = 8192  # pixels of a crop or a test image
MAX_PIXELS = 1 << 24  # of a test image in one piece
MAX_ARGUMENT = 2048  # channels, blocks: no model here has more
MAX_NAME = 100  # in characters


@dataclass(frozen=True)
class PretrainJob:
    """`lemore pretrain`: a backbone as a classifier. stands_for: the dataset that is drawn."""

    run: str
    dataset: str
    stands_for: str | None
    scenes: bool
    num_classes: int
    backbone_name: str
    backbone: BackboneConfig
    recipe: Pretrain


@dataclass(frozen=True)
class FinetuneJob:
    """`lemore finetune`: a model on a dataset. Every checkpoint holds it under "config".

    Checkpoints come from strangers too, so names and numbers are bounded here.
    """

    run: str
    dataset: str
    num_classes: int
    model_name: str
    model: ModelConfig
    backbone: BackboneConfig
    init: str
    train: Train

    def __post_init__(self) -> None:
        for key in ("dataset", "model_name"):  # parts of paths
            check_name(key, getattr(self, key))
        if not 2 <= self.num_classes <= MAX_CLASSES:
            raise ValueError(f"num_classes is {self.num_classes}, expected 2 to {MAX_CLASSES}")
        check_size("train.crop_size", self.train.crop_size)
        check_size("train.img_scale", self.train.img_scale)
        check_numbers(self.model.arguments)
        check_numbers(self.backbone.arguments)
        check_numbers(self.train.decode_head)


@dataclass(frozen=True)
class EvaluateJob:
    """`lemore evaluate`. classes: their names, () if unknown; images: those that are kept."""

    run: str
    dataset: str
    stands_for: str | None
    scenes: bool
    classes: tuple[str, ...]
    images: tuple[str, ...]
    test: Test


@dataclass(frozen=True)
class ProfileCell:
    """A model at a dataset's class count and a size: one cell of a profile."""

    dataset: str
    task: Literal["segmentation", "classification"]
    num_classes: int
    size: tuple[int, int]
    decode_head: dict[str, Any]


@dataclass(frozen=True)
class ProfileJob:
    """`lemore profile`: counts and latencies of a model in each cell."""

    run: str
    model_name: str
    model: ModelConfig
    backbone: BackboneConfig
    latency_seconds: float
    latency_backends: tuple[Backend, ...]
    latency_upsample: bool
    cells: tuple[ProfileCell, ...]


@dataclass(frozen=True)
class CountJob:
    """`lemore count --config`: models that the paper's tables count and no profile covers."""

    run: str
    models: tuple[ProfileJob, ...]


@dataclass(frozen=True)
class DiagramJob:
    """`lemore diagram`: the backbone whose feed-forward network is drawn."""

    label: str
    backbone: BackboneConfig
    size: tuple[int, int]


def make_finetune_job(
    run: str, dataset: str, num_classes: int, model_name: str, train: Train, init: str = "none"
) -> FinetuneJob:
    """Makes a fine-tuning outside a run: a model of config/models by one recipe."""
    model = load(ModelConfig, CONFIG / "models" / f"{model_name}.yaml")
    backbone = load(BackboneConfig, CONFIG / "backbones" / f"{model.backbone}.yaml")
    return FinetuneJob(run, dataset, num_classes, model_name, model, backbone, init, train)


def read_job(cls: type[J], path: Path) -> J:
    """Reads a job from YAML; ValueError names file and key, or says it is another stage's."""
    values = read_yaml(path)
    missing = [f.name for f in fields(cls) if f.name not in values and f.default is MISSING]
    if missing:
        raise ValueError(
            f"{path}: no '{missing[0]}' in it; expected results/<run>/config/... of this "
            "command's stage"
        )
    return build(cls, values, str(path))


def write_job(path: Path, job: Any) -> None:
    """Writes a job with all its values, unless the file already holds the same.

    A key that is missing in an older file counts as its default, so that a new option
    reruns nothing, while a default that is changed differs from what the file says.
    """
    if path.exists():
        try:
            if load(type(job), path) == job:
                return
        except ValueError:  # a key that is gone, or a file that was damaged
            pass
    write_atomic(path, dump(job), durable=False)


def check_name(key: str, name: str) -> None:
    """Raises ValueError unless a name can be shown and is a single part of a path."""
    printable = name.isprintable() and not set("/\\") & set(name) and not name.startswith(".")
    if not printable or not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"{key} is {name[:MAX_NAME]!r}, expected a plain name")


def check_size(key: str, size: tuple[int, int]) -> None:
    """Raises ValueError unless a size can be held in memory."""
    if not 1 <= min(size) <= max(size) <= MAX_SIDE or size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            f"{key} is {size}, expected sides of 1 to {MAX_SIDE} and at most {MAX_PIXELS:,} pixels"
        )


def check_numbers(value: Any) -> None:
    """Raises ValueError for arguments larger than any model here has, before anything is built."""
    items = list(value.values()) if isinstance(value, dict) else value
    if isinstance(items, (list, tuple)):
        for item in items:
            check_numbers(item)
    elif isinstance(value, (int, float)) and not 0 <= value <= MAX_ARGUMENT:
        raise ValueError(f"arguments hold {value}, expected 0 to {MAX_ARGUMENT}")
