"""A trained model: what it was told, its tensors, and the network rebuilt from them.

Files of others are read with this too, so every value is checked: names are plain, numbers are in
bounds, and the tensors are exactly those that the configuration calls for.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import build
from lemore.config.recipe import Test, Train
from lemore.models.fold import fold
from lemore.models.key_map import KeyMap, convert
from lemore.models.network import make_model
from lemore.models.segmentor import Segmentor

AUXILIARY = "auxiliary_head."
MAX_CLASSES = 255  # train ids 0..254; 255 is ignored
MAX_SIDE = 8192  # pixels of a crop or a test image
MAX_PIXELS = 1 << 24  # of a test image in one piece
MAX_ARGUMENT = 2048  # channels, blocks: no model here has more
MAX_NAME = 100  # characters


@dataclass(frozen=True)
class Settings:
    """What a fine-tuning was told, as its checkpoint holds it."""

    run: str
    dataset: str
    num_classes: int
    model_name: str
    model: ModelConfig
    backbone: BackboneConfig
    init: str
    train: Train

    def __post_init__(self) -> None:
        for key in ("dataset", "model_name"):  # which are parts of paths
            _check_name(key, getattr(self, key))
        if not 2 <= self.num_classes <= MAX_CLASSES:
            raise ValueError(f"num_classes is {self.num_classes}, expected 2 to {MAX_CLASSES}")
        _check_size("train.crop_size", self.train.crop_size)
        _check_size("train.img_scale", self.train.img_scale)
        for arguments in (
            self.model.arguments,
            self.backbone.arguments,
            self.train.decode_head,
        ):
            _check_numbers(arguments)


def _check_name(key: str, name: str) -> None:
    """A name that can be shown, and is one folder or file where it is part of a path."""
    plain = name.isprintable() and not set("/\\") & set(name) and not name.startswith(".")
    if not plain or not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"{key} is {name[:MAX_NAME]!r}, expected a plain name")


def _check_size(key: str, size: tuple[int, int]) -> None:
    if not 1 <= min(size) <= max(size) <= MAX_SIDE or size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            f"{key} is {size}, expected sides of 1 to {MAX_SIDE} and at most {MAX_PIXELS:,} pixels"
        )


def _check_numbers(value: Any) -> None:
    """Sizes that no model has are refused before anything is built with them."""
    items = list(value.values()) if isinstance(value, dict) else value
    if isinstance(items, (list, tuple)):
        for item in items:
            _check_numbers(item)
    elif isinstance(value, (int, float)) and not 0 <= value <= MAX_ARGUMENT:
        raise ValueError(f"arguments hold {value}, expected 0 to {MAX_ARGUMENT}")


@dataclass(frozen=True)
class Record:
    """How the weights came about, empty where nobody knows; weights_sha256 is that of the tensors
    (`checkpoint.hash_tensors`)."""

    seed: int
    iterations: int
    command: str
    git: str
    weights_sha256: str
    mlflow_run_id: str
    pretrain_run_id: str


@dataclass(frozen=True)
class Classes:
    """Names of the classes and their display colours (R, G, B), by train id."""

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.colors) or len(set(self.names)) != len(self.names):
            raise ValueError("classes: expected one colour for each, and every name once")
        for name in self.names:
            if not name.isprintable() or not 0 < len(name) <= MAX_NAME:
                raise ValueError(f"classes: {name[:MAX_NAME]!r} is no printable name")
        if any(not 0 <= value <= 255 for color in self.colors for value in color):
            raise ValueError("colors: expected values of 0 to 255")


@dataclass(frozen=True)
class Trained:
    """A trained model as found on disk.

    source: where, for messages. config: the mapping that `settings` was built from. state_dict:
    the tensors that inference needs. test: how it is evaluated. classes: those that travel with
    the weights, None where none do.
    """

    source: str
    config: dict[str, Any]
    settings: Settings
    state_dict: dict[str, Tensor]
    record: Record
    test: Test
    classes: Classes | None

    def __post_init__(self) -> None:
        align = self.test.align or 1
        try:
            _check_size("test.img_scale", self.test.img_scale)
            _check_size("test.align", (align, align))
        except ValueError as error:
            raise ValueError(f"{self.source}: {error}") from None

    def network(self) -> Segmentor:
        """The network in evaluation mode, folded for inference."""
        return fold(self.unfolded().eval())

    def unfolded(self, size: tuple[int, int] | None = None) -> Segmentor:
        """The network as it was trained, less the auxiliary head, which helped training only.

        size: (H, W) that it is built for, and its mixing matrices carried to; None: the training's.
        """
        train = self.settings.train
        network = make_model(self.config, replace(train, crop_size=size or train.crop_size))
        network.auxiliary_head = None
        network.load_state_dict(self.state_dict)
        return network


def check_settings(config: Any, source: str) -> Settings:
    """The settings in a checkpoint's `config`; ValueError naming source and key."""
    if not isinstance(config, dict):
        raise ValueError(f"{source}: 'config' is no mapping")
    return build(Settings, config, source, "config.")


def fitting(
    state: Any, settings: Settings, config: dict[str, Any], source: str
) -> dict[str, Tensor]:
    """The tensors of `state` that inference needs: exactly those of the configured network.

    ValueError lists what is unknown, missing, misshapen or not finite. The network is first built
    without memory, so that a file cannot ask for more than it holds.
    """
    if not isinstance(state, dict):
        raise ValueError(f"{source}: 'state_dict' is no mapping")
    for name, tensor in state.items():
        if not isinstance(name, str) or not _is_plain(tensor):
            raise ValueError(f"{source}: {name!r} is no plain tensor")
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(AUXILIARY)}
    tensors = convert(kept, KeyMap(()), _outline(settings, config, source), source)
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{source}: {name} holds NaN or infinity; the training diverged")
    return tensors


def _outline(settings: Settings, config: dict[str, Any], source: str) -> dict[str, Tensor]:
    """Names and shapes of the network's tensors, which take no memory."""
    try:
        with torch.device("meta"):
            network = make_model(config, settings.train)
    except Exception as error:  # modules raise several kinds for arguments that do not fit
        raise ValueError(f"{source}: 'config' describes no model ({error})") from None
    network.auxiliary_head = None
    return network.state_dict()


def _is_plain(value: Any) -> bool:
    """A dense CPU tensor of numbers that are all there."""
    return (
        type(value) is Tensor
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not (value.is_complex() or value.is_quantized)
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
