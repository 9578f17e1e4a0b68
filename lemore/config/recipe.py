"""Recipes: how one dataset is trained on and tested (torch-free, read by the Snakefile too).

A recipe file is config/recipes/<scale>/<dataset>.yaml on top of common.yaml in the same folder
(the pretraining dataset's stands alone); `overrides` holds what is a fact of a pair of dataset and
model.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from lemore.config.read import build, did_you_mean, read_yaml


@dataclass(frozen=True, kw_only=True)
class Options:
    """The keys that both kinds of training have; one with a default is off when left out.

    Sizes are (H, W). compile needs a C++ compiler. A worker whose share of the batch is larger than
    micro_batch takes it in parts, one after the other, within the same step. ema is the decay of
    the weights' running average, which is then what is evaluated and kept.
    """

    crop_size: tuple[int, int]
    scale_range: tuple[float, float]
    flip_probability: float
    batch_size: int  # the global batch, whatever the number of workers
    iterations: int
    lr: float
    betas: tuple[float, float]  # of adamw
    weight_decay: float
    warmup_iterations: int
    min_lr: float  # where the schedule ends
    drop_path: float
    checkpoint_every: int
    validate_every: int  # 0: never
    threads: int  # CPU threads of the training process
    loader_workers: int
    channels_last: bool
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of the operations that autocast covers
    compile: bool = False  # torch.compile
    micro_batch: int = 0  # most images that a worker takes at once; 0: its whole share
    ema: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is {self.ema}, expected 0 (off) or a decay below 1, say 0.9999")
        if self.micro_batch < 0:
            raise ValueError(f"micro_batch is {self.micro_batch}, expected 0 (off) or a number")
        for name in ("batch_size", "iterations", "checkpoint_every", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


@dataclass(frozen=True)
class Train(Options):
    """Training half of a recipe. img_scale is (long side, short side).

    decay_norm: "reference" decays norms too: TopFormer's exception misses their names (".bn.").
    schedule: mmcv0 multiplies the warm-up onto a decay from iteration 0, mmseg1 puts it before.
    loss_average: all_pixels divides by the ignored pixels too, as mmseg 0.x does.
    """

    img_scale: tuple[int, int]
    cat_max_ratio: float
    photometric_distortion: Literal["none", "cpu", "device"]  # where: loader or training device
    decay_norm: Literal["reference", False]
    head_lr_mult: float
    schedule: Literal["mmcv0", "mmseg1"]
    warmup_ratio: float
    poly_power: float
    loss_average: Literal["all_pixels", "valid_pixels"]
    class_weight: Literal["none", "auto"]  # auto: by the training split's class frequencies
    dropout: float
    source: Literal["own recipe", "common recipe"]
    fused_loss: bool = False  # the same loss but for rounding, faster on a CPU
    decode_head: dict[str, Any] = field(default_factory=dict)  # arguments that depend on the pair

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.crop_size) < 64:
            raise ValueError(
                f"train.crop_size is {self.crop_size}, expected at least 64: "
                "below, the 1/64 tokens vanish"
            )


@dataclass(frozen=True)
class Test:
    """Evaluation half of a recipe."""

    split: str
    img_scale: tuple[int, int]  # (long, short); the aspect is kept
    align: int | None  # sides rounded up to a multiple, as TopFormer does
    mode: Literal["whole", "square", "slide"]
    stride: tuple[int, int]  # of the windows, read by mode slide only
    upsample: Literal["two_step", "one_step"]
    ratios: tuple[float, ...]  # of img_scale: a pass at each, their mean softmax decides
    flip: bool  # each pass once more on the mirrored image

    def __post_init__(self) -> None:
        if min(*self.img_scale, 1 if self.align is None else self.align) < 1:
            raise ValueError(
                f"test.img_scale is {self.img_scale} and test.align {self.align}, expected positive"
            )
        known = all(0.1 <= ratio <= 10 for ratio in self.ratios)
        if not self.ratios or not known or len(set(self.ratios)) < len(self.ratios):
            raise ValueError(f"test.ratios is {self.ratios}, expected different ones of 0.1 to 10")
        if self.mode == "square" and self.ratios != (1.0,):
            raise ValueError(
                f"test.ratios is {self.ratios}, but mode square brings every size to the crop's: "
                "set ratios: [1.0], or mode whole or slide"
            )
        if self.mode == "slide" and self.upsample == "one_step":
            raise ValueError(
                "test.upsample is one_step, but the windows of mode slide meet at the network's "
                "size: set upsample: two_step"
            )
        if self.mode == "slide" and min(self.stride) < 1:
            raise ValueError(f"test.stride is {self.stride}, expected at least 1 for mode slide")


@dataclass(frozen=True)
class Pretrain(Options):
    """ImageNet pretraining recipe (reconstructed: the paper gives none)."""

    ratio_range: tuple[float, float]
    label_smoothing: float
    test_share: float  # of the shorter side that the central test crop covers (224 of 256)
    split: str
    optimizer: Literal["adamw", "rmsprop"] = "adamw"
    schedule: Literal["cosine", "step"] = "cosine"
    step_decay: tuple[float, int] = (1.0, 1)  # of schedule step: factor, iterations
    dropout: float = 0.0  # before the classifier
    rand_augment: tuple[float, float] | None = None  # magnitude 0..10 and its deviation
    random_erasing: float = 0.0  # probability
    mixup: float = 0.0  # alpha

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_decay[1] < 1:
            raise ValueError(f"step_decay is {self.step_decay}, expected a factor and iterations")
        if self.mixup and (self.batch_size % 2 or self.micro_batch % 2):
            raise ValueError("mixup pairs images: batch_size and micro_batch must be even")


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Returns `base` with the keys of `over` replaced, mapping by mapping; changes neither."""
    merged = dict(base)
    for key, value in over.items():
        deep = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if deep else value
    return merged


def load_recipe(
    folder: Path, dataset: str, model: str, changes: dict[str, Any]
) -> tuple[Train, Test]:
    """Returns the resolved recipe of a (dataset, model) pair; ValueError names file and key.

    `changes`: a run's changes to all its recipes, under `train`, `test` and `pretrain`.
    """
    values, path = _read(folder, dataset, "common.yaml")
    values = merge(values, values.pop("overrides", {}).get(model, {}))
    values = merge(values, {k: v for k, v in changes.items() if k != "pretrain"})
    for key in values:
        if key not in ("train", "test"):
            raise ValueError(
                f"{path}: unknown key '{key}'{did_you_mean(key, ['train', 'test', 'overrides'])}"
            )
    source = f"{path} (with common.yaml)"
    train = build(Train, values.get("train", {}), source, "train.")
    return train, build(Test, values.get("test", {}), source, "test.")


def load_pretrain(
    folder: Path, dataset: str, backbone: str, changes: dict[str, Any] | None = None
) -> Pretrain:
    """Returns the pretraining recipe of a backbone; `changes` as for `load_recipe`."""
    values, path = _read(folder, dataset, None)
    values = merge(values, values.pop("overrides", {}).get(backbone, {}))
    values = merge(values, (changes or {}).get("pretrain", {}))
    return build(Pretrain, values, str(path))


def override_names(folder: Path, dataset: str) -> list[str]:
    """Returns the models that the recipe of `dataset` names under `overrides`."""
    values, _ = _read(folder, dataset, None)
    return list(values.get("overrides", {}))


def _read(folder: Path, dataset: str, common: str | None) -> tuple[dict[str, Any], Path]:
    path = folder / f"{dataset}.yaml"
    if folder.is_dir() and not path.exists():
        known = [p.stem for p in folder.glob("*.yaml") if p.stem != "common"]
        raise ValueError(
            f"{path}: no such recipe{did_you_mean(dataset, known)}; write it, or name an "
            "existing one by `recipe:` in the dataset's file in config/datasets"
        )
    values = dict(_parsed(path))
    if common is not None and (folder / common).exists():
        values = merge(_parsed(folder / common), values)
    return values, path


def _parsed(path: Path) -> dict[str, Any]:
    """Parses a recipe file, once for each time of change, since a run asks for it often."""
    return _parse(path, path.stat().st_mtime_ns if path.exists() else 0)


@cache
def _parse(path: Path, _changed: int) -> dict[str, Any]:
    return read_yaml(path)
