"""A trained model: its job, its tensors, and the network rebuilt from them.

Files of others are read with this too, so every value is checked: names are plain, numbers are in
bounds, and the tensors are exactly those that the configuration calls for.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lemore.config.jobs import FinetuneJob, check_size
from lemore.config.recipe import Test
from lemore.config.values import MAX_NAME, Note, is_class_name
from lemore.models.fold import fold
from lemore.models.key_map import KeyMap, convert
from lemore.models.network import Network, make_network

AUXILIARY = "auxiliary_head."


@dataclass(frozen=True)
class Record:
    """The origin of the weights, empty where unknown. iterations: those that were trained.
    weights_sha256: the digest of the tensors (`checkpoint.hash_tensors`). start: the whole model
    that they started from, in words; chosen: how they were chosen among those of their training,
    if they are not the last. start_licences: of that model and of those before it, which hold for
    these weights too."""

    seed: int
    iterations: int
    command: str
    git: str
    weights_sha256: str
    mlflow_run_id: str
    pretrain_run_id: str
    start: Note = ""
    chosen: Note = ""
    start_licences: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Classes:
    """Names of the classes and their display colours (R, G, B), by train id. category_ids: a
    detector's classes in COCO's JSON, () where they are not known."""

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    category_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.colors) or len(set(self.names)) != len(self.names):
            raise ValueError("classes: expected one colour for each, and every name once")
        for name in self.names:
            if not is_class_name(name):
                raise ValueError(f"classes: {name[:MAX_NAME]!r} is no printable name")
        if any(not 0 <= value <= 255 for color in self.colors for value in color):
            raise ValueError("colors: expected values of 0 to 255")
        if self.category_ids and len(set(self.category_ids)) != len(self.names):
            raise ValueError("category_ids: expected one for each class, or none")


@dataclass(frozen=True)
class Trained:
    """A trained model as found on disk.

    source: its place, for messages. job: of the fine-tuning. state_dict: the tensors that inference
    needs. test: how it is evaluated. classes: those stored with the weights, None if there are
    none. licence: of the weights, "" if none is stated with them.
    """

    source: str
    job: FinetuneJob
    state_dict: dict[str, Tensor]
    record: Record
    test: Test
    classes: Classes | None
    licence: str = ""

    def __post_init__(self) -> None:
        align = self.test.align or 1
        try:
            check_size("test.img_scale", self.test.img_scale)
            check_size("test.align", (align, align))
        except ValueError as error:
            raise ValueError(f"{self.source}: {error}") from None
        if self.classes is not None and len(self.classes.names) != self.job.num_classes:
            raise ValueError(
                f"{self.source}: {len(self.classes.names)} classes, config.num_classes says "
                f"{self.job.num_classes}"
            )

    @property
    def licences(self) -> tuple[str, ...]:
        """Those of the weights and of what they started from, as far as they are known."""
        return tuple(dict.fromkeys(filter(None, (self.licence, *self.record.start_licences))))

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the images in test modes square and slide."""
        return self.job.train.crop_size

    @property
    def format(self) -> str:
        """Returns the format of an exported file, such as "ONNX int8", and "" for weights."""
        return ""

    def network(self) -> nn.Module:
        """The network in evaluation mode, folded for inference."""
        return fold(self.unfolded().eval())

    def unfolded(self, size: tuple[int, int] | None = None) -> Network:
        """The network as it was trained, without the auxiliary head, which only training needs.

        size: (H, W) that it and its mixing matrices are built for; None: the training's.
        """
        network = make_network(self.job, size)
        network.auxiliary_head = None
        network.load_state_dict(self.state_dict)
        return network


def select_tensors(state: Any, job: FinetuneJob, source: str) -> dict[str, Tensor]:
    """Selects the tensors of `state` that inference needs: exactly those of the job's network.

    ValueError lists tensors that are unknown, missing, misshapen or not finite. The network is
    first built without memory, so that a file cannot ask for more than it holds.
    """
    if not isinstance(state, dict):
        raise ValueError(f"{source}: 'state_dict' is no mapping")
    for name, tensor in state.items():
        if not isinstance(name, str) or not _is_plain(tensor):
            raise ValueError(f"{source}: {name!r} is no plain tensor")
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(AUXILIARY)}
    tensors = convert(kept, KeyMap(()), outline_tensors(job, source), source)
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{source}: {name} holds NaN or infinity; the training diverged")
    return tensors


def outline_tensors(job: FinetuneJob, source: str) -> dict[str, Tensor]:
    """Returns names and shapes of the tensors that inference needs, without their memory."""
    try:
        with torch.device("meta"):
            network = make_network(job)
    except Exception as error:  # modules raise several kinds for arguments that do not fit
        raise ValueError(f"{source}: 'config' describes no model ({error})") from None
    network.auxiliary_head = None
    return network.state_dict()


def _is_plain(value: Any) -> bool:
    """Returns whether a value is a dense CPU tensor with all its numbers."""
    return (
        type(value) is Tensor
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not (value.is_complex() or value.is_quantized)
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
