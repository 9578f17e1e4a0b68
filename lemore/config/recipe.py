"""The schemas of recipes, which say how one dataset is trained on and tested. Torch-free."""

import os
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval, MinLen, Predicate, doc

from lemore.config.losses import CROSS_ENTROPY, Losses
from lemore.config.values import (
    MAX_SIDE,
    MIN_SIDE,
    Arguments,
    BelowOne,
    Count,
    Line,
    Name,
    NotNegative,
    Number,
    Pattern,
    Positive,
    Share,
    Side,
    SomeShare,
    are_distinct,
)

CropSide = Annotated[int, Interval(ge=MIN_SIDE, le=MAX_SIDE)]
WindowStep = Annotated[int, Interval(ge=0, le=MAX_SIDE)]
Ratios = Annotated[
    tuple[Annotated[float, Interval(ge=0.1, le=10)], ...],
    MinLen(1),
    Predicate(are_distinct),
    doc("at least one, each once"),
]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The keys that both kinds of training have; one with a default is off when left out.

    Sizes are (H, W). compile needs a C++ compiler. A worker whose share of the batch is larger than
    micro_batch takes it in parts, one after the other, within the same step. ema is the decay of
    the weights' running average, which is then what is evaluated and kept. clip_norm is the longest
    gradient of all tensors together, to which longer ones are shortened; 0: they are not.
    """

    crop_size: tuple[CropSide, CropSide]
    scale_range: tuple[Positive, Positive]
    flip_probability: Share
    batch_size: Count  # the global batch, whatever the number of workers
    iterations: Count
    lr: Positive
    betas: tuple[BelowOne, BelowOne]  # of adamw
    weight_decay: NotNegative
    warmup_iterations: Number
    min_lr: NotNegative  # where the schedule ends
    drop_path: BelowOne
    checkpoint_every: Count
    validate_every: Number  # 0: never
    threads: Count  # CPU threads of the training process
    loader_workers: Number  # processes of each worker of the training
    channels_last: bool
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of the operations that autocast covers
    compile: bool = False  # torch.compile
    micro_batch: Number = 0  # most images that a worker takes at once; 0: all
    ema: BelowOne = 0.0
    clip_norm: NotNegative = 0.0

    def count_computing(self, gpus: float) -> int:
        """Returns the cores on which a worker computes: one that leads a GPU, or its threads."""
        return 1 if gpus else self.threads


@dataclass(frozen=True)
class Group:
    """Factors of the learning rate and of the weight decay of some tensors."""

    lr_mult: NotNegative = 1.0
    decay_mult: NotNegative = 1.0


@dataclass(frozen=True)
class Teacher:
    """A trained model whose predictions are learnt beside the labels.

    checkpoint: a path or name as `--checkpoint` takes. weight: of its loss; the recipe's own has 1.
    temperature: by which the logits of both are divided before the softmax.
    """

    checkpoint: Line
    weight: NotNegative = 1.0
    temperature: Positive = 4.0

    @property
    def name(self) -> str:
        return os.path.expanduser(self.checkpoint)


@dataclass(frozen=True)
class Train(Options):
    """Training half of a recipe. img_scale is (long side, short side).

    groups: by regular expressions that are searched in the tensors' names; the longest that is
    found in a name decides, the first in the alphabet among equally long ones (mmcv's rule).
    schedule: mmcv0 multiplies the warm-up onto a decay from iteration 0, mmseg1 puts it before;
    cosine is half a cosine, steps a rate that falls tenfold at the iterations `steps`; their
    warm-ups are as mmcv0's.
    loss_average: all_pixels divides by the ignored pixels too, as mmseg 0.x does.
    source: adapted recipe is what is published for another dataset, encoder or head; reconstructed
    is what works alike do, where nothing is published.
    """

    img_scale: tuple[Side, Side]
    cat_max_ratio: SomeShare
    photometric_distortion: Literal["none", "cpu", "device"]  # where: loader or training device
    schedule: Literal["mmcv0", "mmseg1", "cosine", "steps"]
    warmup_ratio: Share
    poly_power: NotNegative
    loss_average: Literal["all_pixels", "valid_pixels"]
    # auto: by the training split's class frequencies; by name: the others have 1
    class_weight: Literal["none", "auto"] | dict[Line, NotNegative]
    dropout: BelowOne
    source: Literal["own recipe", "adapted recipe", "common recipe", "reconstructed"]
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: BelowOne = 0.9  # of sgd
    groups: dict[Pattern, Group] = field(default_factory=dict)
    scale_step: NotNegative = 0.0  # between the scales that are drawn; 0: all in scale_range are
    fused_loss: bool = False  # the same loss but for rounding, faster on a CPU
    freeze: Literal["none", "backbone"] = "none"  # weights and BatchNorm statistics that stay
    backbone_lr_mult: Positive = 1.0  # on top of the groups' factors
    losses: Losses = CROSS_ENTROPY
    keep: Literal["last", "best"] = "last"  # best: of the validations, by keep_by on split val
    keep_by: Literal["mIoU", "aAcc", "mAcc", "fwIoU", "AP", "AP50"] = "mIoU"  # the last two: boxes
    patience: Number = 0  # validations without a better one that end a training; 0: none do
    rare_class_share: Share = 0.0  # of the images that are drawn by a class in them
    teacher: Teacher | None = None
    fake_quantize: Literal["none", "int8"] = "none"  # what layers compute with in training
    decode_head: Arguments = field(default_factory=dict)  # arguments that depend on the pair
    detection_head: Arguments = field(default_factory=dict)  # that depend on the size of objects
    steps: tuple[Count, ...] = ()

    def __post_init__(self) -> None:
        if (self.schedule == "steps") != bool(self.steps):
            raise ValueError(
                f"steps is {list(self.steps)}, expected iterations with schedule: steps, and only "
                "with it"
            )


@dataclass(frozen=True)
class Test:
    """Evaluation half of a recipe."""

    split: Name
    img_scale: tuple[Side, Side]  # (long, short); the aspect is kept
    align: Side | None  # sides rounded up to a multiple, as TopFormer does
    mode: Literal["whole", "square", "slide"]
    stride: tuple[WindowStep, WindowStep]  # of the windows, read by mode slide only
    upsample: Literal["two_step", "one_step"]
    ratios: Ratios  # of img_scale: a pass at each, their mean softmax decides
    flip: bool  # each pass once more on the mirrored image

    def __post_init__(self) -> None:
        if self.mode == "square" and self.ratios != (1.0,):
            raise ValueError(
                f"ratios is {self.ratios}, but mode square brings every size to the crop's: "
                "set ratios: [1.0], or mode whole or slide"
            )
        if self.mode == "slide" and self.upsample == "one_step":
            raise ValueError(
                "upsample is one_step, but the windows of mode slide meet at the network's "
                "size: set upsample: two_step"
            )
        if self.mode == "slide" and min(self.stride) < 1:
            raise ValueError(f"stride is {self.stride}, expected at least 1 for mode slide")


@dataclass(frozen=True)
class Pretrain(Options):
    """ImageNet pretraining recipe (reconstructed: the paper gives none).

    decayed: the tensors that weight_decay applies to; matrices are those of more than one axis, as
    timm has it. repeats: copies of an image in an epoch (`lemore.data.loader.TrainBatches`).
    mixup, cutmix: alphas of the shares' Beta distributions, 0: off; a pair gets one or the other.
    """

    ratio_range: tuple[Positive, Positive]
    label_smoothing: BelowOne
    test_share: SomeShare  # of the shorter side in the central crop
    split: Name
    optimizer: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    momentum: BelowOne = 0.9  # of sgd
    decayed: Literal["all", "all_but_norms", "matrices"] = "all_but_norms"
    schedule: Literal["cosine", "step"] = "cosine"
    # of schedule step: factor, iterations
    step_decay: tuple[SomeShare, Count] = (1.0, 1)
    dropout: BelowOne = 0.0  # before the classifier
    # magnitude and its deviation
    rand_augment: tuple[Annotated[float, Interval(ge=0, le=10)], NotNegative] | None = None
    rand_augment_increasing: bool = False
    random_erasing: Share = 0.0  # probability
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    repeats: Count = 1

    @property
    def pairs_images(self) -> bool:
        return max(self.mixup, self.cutmix) > 0

    def __post_init__(self) -> None:
        if self.pairs_images and (self.batch_size % 2 or self.micro_batch % 2):
            raise ValueError(
                f"mixup is {self.mixup}, cutmix {self.cutmix}, and they pair images: batch_size is "
                f"{self.batch_size} and micro_batch {self.micro_batch}, expected even numbers"
            )
