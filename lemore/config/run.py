"""The schema of a run's configuration file. Torch-free."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import MinLen, Predicate, doc

from lemore.config.formats import Format
from lemore.config.values import (
    MIN_SIDE,
    NAME,
    Count,
    FolderPath,
    Init,
    Line,
    Name,
    Names,
    NotNegative,
    Positive,
    Seeds,
    SomeShare,
    Trials,
    are_distinct,
)

# eager, compiled (torch.compile) and onnxruntime on the CPU; cuda: eager on the first GPU
Backend = Literal["eager", "compiled", "onnxruntime", "cuda"]
Backends = Annotated[
    tuple[Backend, ...], MinLen(1), Predicate(are_distinct), doc("at least one, each once")
]
Formats = Annotated[
    tuple[Format, ...], MinLen(1), Predicate(are_distinct), doc("at least one, each once")
]
Deployed = Annotated[
    str,
    Predicate(lambda text: re.fullmatch(rf"{NAME}(@{NAME})?", text) is not None),
    doc("a model, or one with a dataset such as lemore@camvid"),
]
PAPER_TABLES = (
    "ade20k", "ablation", "cityscapes", "pascal_context", "coco_stuff", "detection", "imagenet",
    "efficiency",
)  # fmt: skip


def split_place(text: str) -> tuple[str, tuple[int, int] | None] | None:
    """Returns the dataset of a profile and, if one is given, the size (H, W); None if it is none.

    "cityscapes" is the size of the dataset's recipe, "cityscapes@1024x2048" another.
    """
    match = re.fullmatch(rf"({NAME})(?:@([0-9]{{2,4}})x([0-9]{{2,4}}))?", text)
    if match is None:
        return None
    size = (int(match[2]), int(match[3])) if match[2] else None
    return None if size and min(size) < MIN_SIDE else (match[1], size)


Place = Annotated[
    str,
    Predicate(lambda text: split_place(text) is not None),
    doc(
        "a dataset, or one with a size (HxW, at least 64x64, at most four digits) such as "
        "cityscapes@1024x2048"
    ),
]
Places = Annotated[
    tuple[Place, ...], MinLen(1), Predicate(are_distinct), doc("at least one, each once")
]
Images = Annotated[
    tuple[Line, ...], MinLen(1), Predicate(are_distinct), doc("at least one name, each once")
]
Changes = Annotated[Any, doc("keys of a recipe, which are checked as a recipe's")]


@dataclass(frozen=True)
class Ray:
    """Says where trainings run. `gpus` is per worker and may be a fraction."""

    mode: Literal["local", "none"]
    workers: Count
    gpus: NotNegative


@dataclass(frozen=True)
class Comparison:
    """Images of a dataset for the visual comparison, chosen before anything is trained."""

    images: Images
    models: Names


@dataclass(frozen=True)
class Search:
    """`snakemake search`: trials of each model, and the share of its iterations in each."""

    trials: Trials
    share: SomeShare


@dataclass(frozen=True)
class RunConfig:
    """The configuration file of a run (config/config.yaml says what each key means)."""

    run: Name
    recipes: FolderPath
    recipe_changes: dict[Name, Changes]  # what replaces every recipe's: train, test, pretrain
    archives_dir: FolderPath
    data_dir: FolderPath
    seeds: Seeds
    pretrain: Name | None
    init: dict[Name, Init]  # by backbone; checkpoint:<name> by model
    trainings: dict[Name, Names]
    profiles: dict[Name | Literal["*"], Places]
    latency_seconds: Positive
    paper_tables: bool
    comparisons: dict[Name, Comparison]
    ray: Ray
    log_model: bool
    seeds_of: dict[Name, Seeds] = field(default_factory=dict)  # models with other seeds
    latency_backends: Backends = ("eager",)
    latency_upsample: bool = False  # time the resizing of the logits to the input too
    system_metrics: bool = False  # record the machine's use while trainings run
    search: Search = Search(trials=12, share=0.25)
    deployments: dict[Deployed, Formats] = field(default_factory=dict)
    deployment_threads: Count = 1  # of the CPU, when deployed models are timed
    calibration_images: Count = 64  # of the training split, for INT8

    def __post_init__(self) -> None:
        if not self.trainings and not self.profiles:
            raise ValueError("trainings is {} and profiles too, expected something to do")
