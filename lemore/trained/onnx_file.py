"""An ONNX file of `lemore export` as a trained model, which ONNX Runtime runs on the CPU.

Files of others are read with this too: what a file says of itself is checked as a shared model's
config.json is, it may hold ONNX's own operators alone, and it may name no other file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.config.jobs import check_size
from lemore.config.read import build
from lemore.config.recipe import CropSide, Test
from lemore.config.size import Size
from lemore.data.normalize import MEAN, STD
from lemore.profiling import export
from lemore.trained.checkpoint import Trained
from lemore.trained.folder import Description, parse_json

MAX_BYTES = (1 << 31) - 1  # of a protobuf
DOMAINS = ("", "ai.onnx")  # of ONNX's own operators
Labels = Literal["native", "image"]
Precision = Literal["float32", "float16", "int8"]
Input = Literal["RGB 0..255", "(RGB 0..255 - mean) / std"]
Output = Literal[
    "logits at native stride", "train ids at native stride", "train ids",
    "boxes x1 y1 x2 y2, train ids, scores",
]  # fmt: skip
RAW, NORMALIZED = get_args(Input)
LOGITS, NATIVE_IDS, IMAGE_IDS, BOXES = get_args(Output)
OUTPUTS: dict[Labels | None, str] = {None: LOGITS, "native": NATIVE_IDS, "image": IMAGE_IDS}


@dataclass(frozen=True)
class Interface:
    """The inputs and outputs of an exported file.

    size: (H, W) of the images. dynamic_batch: it takes any number of them at once. raw: they are
    RGB 0..255, else normalised. labels: it gives train ids B h w at the network's native stride or
    at the image's size; None: logits B K h w at native stride.
    """

    size: Size
    dynamic_batch: bool
    raw: bool
    labels: Labels | None


@dataclass(frozen=True)
class About:
    """The metadata that is read again. trained: as in a shared model's config.json."""

    trained: Description
    size: tuple[CropSide, CropSide]
    input: Input
    output: Output
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class Exported(Trained):
    """A trained model in an exported file, whose tensors its runtime alone reads.

    Every image is brought to the file's size: `test` has mode square.
    """

    interface: Interface
    precision: Precision
    content: bytes = field(repr=False)

    @property
    def input_size(self) -> Size:
        return self.interface.size

    @property
    def format(self) -> str:
        return f"ONNX {self.precision}"

    def network(self) -> nn.Module:
        return FileNetwork(self.content, self.interface, self.job.num_classes, self.source)


class FileNetwork(nn.Module):
    """An exported file as a network: float B 3 H W, normalised RGB, to logits B K h w.

    A file that gives train ids has the logit 1 at them and 0 elsewhere. The session is opened where
    the network first runs, or by `open`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, content: bytes, interface: Interface, num_classes: int, source: str) -> None:
        super().__init__()
        self.content, self.interface, self.source = content, interface, source
        self.num_classes = num_classes
        self.session: Any = None
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"session": None}

    def open(self) -> None:
        """Opens the session, with torch's number of threads here, unless it is open."""
        if self.session is None:
            self.session = export.open_session(self.content, torch.get_num_threads())

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != (3, *self.interface.size):
            height, width = self.interface.size
            raise ValueError(
                f"{self.source}: takes images B 3 {height} {width}, got {tuple(x.shape)}"
            )
        self.open()
        x = x.detach() * self.std + self.mean if self.interface.raw else x.detach()
        feeds = ({export.INPUT: one.contiguous().numpy()} for one in x.split(1))
        found = torch.cat([torch.from_numpy(self.session.run(None, feed)[0]) for feed in feeds])
        if self.interface.labels is None:
            return found
        if int(found.max()) >= self.num_classes:
            raise ValueError(
                f"{self.source}: gives train id {int(found.max())}, but has {self.num_classes} "
                "classes"
            )
        return F.one_hot(found.long(), self.num_classes).permute(0, 3, 1, 2).float()


def read_onnx(path: Path) -> Exported:
    """Reads and checks a file; ValueError says what is wrong with it."""
    export.require_packages()
    import onnx

    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: larger than {MAX_BYTES:,} bytes")
    content = path.read_bytes()
    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own kinds
        raise ValueError(f"{path}: not a whole ONNX file ({error})") from None
    about = read_about(proto, path)
    refuse_foreign(proto, path)
    interface = Interface(
        size=about.size,
        dynamic_batch=False,
        raw=about.input == RAW,
        labels=next(labels for labels, text in OUTPUTS.items() if text == about.output),
    )
    told = about.trained
    check_ports(content, interface, told.config.num_classes, path)
    return Exported(
        source=str(path),
        job=told.config,
        state_dict={},
        record=told.training,
        test=make_square(told.test),
        classes=told.classes,
        licence=told.licence,
        interface=interface,
        precision=about.precision,
        content=content,
    )


def read_about(proto: Any, path: Path) -> About:
    """Reads the metadata of `lemore export`; ValueError names a key that is missing or wrong."""
    texts = {one.key: one.value for one in proto.metadata_props}
    if "trained" not in texts:
        raise ValueError(
            f"{path}: does not say which model it holds; expected a file of `lemore export`, of "
            "this version or a later one"
        )
    names = About.__dataclass_fields__.keys() & texts.keys()
    values = {name: parse_json(texts[name].encode(), f"{path}: metadata.{name}") for name in names}
    about = build(About, values, str(path), "metadata.")
    if about.output == BOXES:
        raise ValueError(
            f"{path}: a detector's file, which other programs run; give the checkpoint that it was "
            "made from"
        )
    try:
        check_size("metadata.size", about.size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return about


def refuse_foreign(proto: Any, path: Path) -> None:
    """Raises ValueError for data in another file, and for operators that are not ONNX's own."""
    for message in _list_messages(proto):
        kind = message.DESCRIPTOR.name
        if kind == "TensorProto" and (message.data_location or message.external_data):
            raise ValueError(f"{path}: the data of '{message.name}' lie in another file")
        if kind == "NodeProto" and message.domain not in DOMAINS:
            raise ValueError(
                f"{path}: operator {message.domain}::{message.op_type} is not one of ONNX's own"
            )
        if kind == "FunctionProto":
            raise ValueError(f"{path}: defines the operator '{message.name}' itself")


def _list_messages(message: Any) -> Iterator[Any]:
    """Lists a protobuf and all that are in it."""
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for one in [value] if hasattr(value, "ListFields") else value:
                yield from _list_messages(one)


def check_ports(content: bytes, interface: Interface, num_classes: int, path: Path) -> None:
    """Raises ValueError if ONNX Runtime refuses the file, or if its input and output are others
    than its metadata say."""
    try:
        session = export.open_session(content, 1)
    except Exception as error:  # ONNX Runtime has several kinds, without a common one
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: ONNX Runtime does not load it ({text})") from None
    ports = [*session.get_inputs(), *session.get_outputs()]
    found = [(port.name, port.type, list(port.shape)[1:]) for port in ports]
    output: tuple[str, list[Any]] = ("tensor(uint8)", list(interface.size))
    if interface.labels != "image":
        stride = found[-1][2][-2:] if found else []
        output = ("tensor(uint8)", stride)
        if interface.labels is None:
            output = ("tensor(float)", [num_classes, *stride])
    wanted = [(export.INPUT, "tensor(float)", [3, *interface.size]), (export.OUTPUT, *output)]
    if found != wanted:
        raise ValueError(
            f"{path}: input and output are {found}, but its metadata mean {wanted} (without the "
            "batch)"
        )


def make_square(test: Test) -> Test:
    """Returns the test for a network of one size, to which every image is brought."""
    return replace(test, mode="square", ratios=(1.0,))


def check_use(trained: Trained, test: Test, gpu: bool) -> None:
    """Raises ValueError if an exported file is asked for what it cannot do."""
    if not isinstance(trained, Exported):
        return
    if gpu:
        raise ValueError(f"{trained.source}: an exported file runs on the CPU alone")
    if test.mode != "square":
        height, width = trained.interface.size
        raise ValueError(
            f"{trained.source}: test.mode is {test.mode}, expected square: the file takes images "
            f"of {height} x {width} alone"
        )
