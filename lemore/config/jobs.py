"""The job of each stage: one frozen dataclass per stage, the same wherever it runs.

The Snakefile writes a job as a small YAML file, its command reads it once, and stage, worker and
checkpoint carry the object. An edit to the configuration thus reruns exactly the jobs that it
changes. Sizes are (H, W) in pixels.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Interval

from lemore.config.dataset import MAX_BOX_CLASSES, MAX_CLASSES
from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import build, dump, load, read_yaml
from lemore.config.recipe import Pretrain, Test, Train
from lemore.config.run import Backends, Formats
from lemore.config.values import Arguments, Count, Init, Line, Name, Positive, Side
from lemore.runtime.files import write_atomic

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

J = TypeVar("J", bound="DataclassInstance")
MAX_PIXELS = 1 << 24  # of a crop or a test image in one piece


@dataclass(frozen=True)
class PretrainJob:
    """`lemore pretrain`: a backbone as a classifier. stands_for: the dataset that is drawn."""

    run: Name
    dataset: Name
    stands_for: Name | None
    scenes: bool
    num_classes: Annotated[int, Ge(2)]
    backbone_name: Name
    backbone: BackboneConfig
    recipe: Pretrain


@dataclass(frozen=True)
class FinetuneJob:
    """`lemore finetune`: a model on a dataset. Every checkpoint holds it under "config".

    Checkpoints come from strangers too, so names and numbers are bounded here.
    """

    run: Name
    dataset: Name
    num_classes: Annotated[int, Interval(ge=1, le=MAX_BOX_CLASSES)]
    model_name: Name
    model: ModelConfig
    backbone: BackboneConfig
    init: Init
    train: Train

    @staticmethod
    def renew(values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Translates the keys that said, in older files, what `train.groups` says."""
        train = values.get("train")
        if not isinstance(train, dict) or not {"decay_norm", "head_lr_mult"} <= train.keys():
            return values
        train = dict(train)
        head = {"lr_mult": train.pop("head_lr_mult")}
        groups: dict[str, Any] = {"head": head}
        if train.pop("decay_norm") is False:
            groups |= {"(bn|norm)": {"decay_mult": 0.0}}
            groups |= {"head.*(bn|norm)": head | {"decay_mult": 0.0}}
        return {**values, "train": train | {"groups": groups}}

    def __post_init__(self) -> None:
        if self.model.task == "segmentation" and not 2 <= self.num_classes <= MAX_CLASSES:
            raise ValueError(
                f"num_classes is {self.num_classes}, expected 2 to {MAX_CLASSES} to segment"
            )
        check_size("train.crop_size", self.train.crop_size)
        check_size("train.img_scale", self.train.img_scale)


@dataclass(frozen=True)
class EvaluateJob:
    """`lemore evaluate`. classes: their names, () if unknown; images: those that are kept."""

    run: Name
    dataset: Name
    stands_for: Name | None
    scenes: bool
    classes: tuple[Line, ...]
    images: tuple[Line, ...]
    test: Test


@dataclass(frozen=True)
class ProfileCell:
    """A model at a dataset's class count and a size: one cell of a profile.

    head: arguments of its decode head or detection head that the recipe sets.
    """

    dataset: Name
    task: Literal["segmentation", "classification", "detection"]
    num_classes: Annotated[int, Ge(1)]
    size: tuple[Side, Side]
    head: Arguments


@dataclass(frozen=True)
class ProfileJob:
    """`lemore profile`: counts and latencies of a model in each cell."""

    run: Name
    model_name: Name
    model: ModelConfig
    backbone: BackboneConfig
    latency_seconds: Positive
    latency_backends: Backends
    latency_upsample: bool
    cells: tuple[ProfileCell, ...]


@dataclass(frozen=True)
class CountJob:
    """`lemore count --config`: models that the paper's tables count and no profile covers."""

    run: Name
    models: tuple[ProfileJob, ...]


@dataclass(frozen=True)
class DeployJob:
    """`lemore deploy`: a trained model as files of several formats, measured side by side.

    size: of the files' images. calibration_images: of the training split, for INT8.
    """

    run: Name
    dataset: Name
    stands_for: Name | None
    scenes: bool
    model_name: Name
    formats: Formats
    size: tuple[Side, Side]
    test: Test
    calibration_images: Count
    latency_seconds: Positive
    threads: Count


@dataclass(frozen=True)
class DiagramJob:
    """`lemore diagram`: the backbone whose feed-forward network is drawn."""

    label: Line
    backbone: BackboneConfig
    size: tuple[Side, Side]


def make_finetune_job(
    run: str, dataset: str, num_classes: int, model_name: str, train: Train, init: str = "none"
) -> FinetuneJob:
    """Makes a fine-tuning outside a run: a model of config/models by one recipe."""
    model = load(ModelConfig, f"config/models/{model_name}.yaml")
    backbone = load(BackboneConfig, f"config/backbones/{model.backbone}.yaml")
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
    text = dump(job)
    if path.exists():
        try:
            if path.read_text("utf-8") == text or load(type(job), path) == job:
                return
        except ValueError:  # a key that is gone, or a file that was damaged
            pass
    write_atomic(path, text, durable=False)


def check_size(key: str, size: tuple[int, int]) -> None:
    """Raises ValueError unless an image of that size can be held in memory."""
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"{key} is {size}, expected at most {MAX_PIXELS:,} pixels")
