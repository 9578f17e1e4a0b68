"""The schema of a run's configuration file. Torch-free."""

from dataclasses import dataclass, field
from typing import Any, Literal

# eager, compiled (torch.compile) and onnxruntime on the CPU; cuda: eager on the first GPU
Backend = Literal["eager", "compiled", "onnxruntime", "cuda"]


@dataclass(frozen=True)
class Ray:
    """Says where trainings run. `gpus` is per worker and may be a fraction."""

    mode: Literal["local", "none"]
    workers: int
    gpus: float


@dataclass(frozen=True)
class Comparison:
    """Images of a dataset for the visual comparison, chosen before anything is trained."""

    images: tuple[str, ...]
    models: tuple[str, ...]


@dataclass(frozen=True)
class Search:
    """`snakemake search`: trials of each model, and the share of its iterations in each."""

    trials: int
    share: float


@dataclass(frozen=True)
class RunConfig:
    """The configuration file of a run (config/config.yaml says what each key means)."""

    run: str
    recipes: str
    recipe_changes: dict[str, Any]  # keys that replace those of every recipe
    archives_dir: str
    data_dir: str
    seeds: tuple[int, ...]
    pretrain: str | None
    init: dict[str, str]
    trainings: dict[str, tuple[str, ...]]
    profiles: dict[str, tuple[str, ...]]
    latency_seconds: float
    paper_tables: bool
    comparisons: dict[str, Comparison]
    ray: Ray
    log_model: bool
    seeds_of: dict[str, tuple[int, ...]] = field(default_factory=dict)  # models with other seeds
    latency_backends: tuple[Backend, ...] = ("eager",)
    latency_upsample: bool = False  # time the resizing of the logits to the input too
    search: Search = Search(trials=12, share=0.25)
