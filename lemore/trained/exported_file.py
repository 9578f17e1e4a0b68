"""A file of `lemore export` as a trained model, which its runtime runs on the CPU.

Files of others are read with this too: what a file says of itself is checked as a shared model's
config.json is, and so are its input and output.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.config.formats import TITLES, Kind, Precision, find_kind
from lemore.config.jobs import check_size
from lemore.config.read import build
from lemore.config.recipe import CropSide, Test
from lemore.config.size import Size
from lemore.data.normalize import MEAN, STD
from lemore.profiling.runtimes import find_runtime
from lemore.profiling.session import Session
from lemore.trained.checkpoint import Trained
from lemore.trained.folder import Description, parse_json

Labels = Literal["native", "image"]
Input = Literal["RGB 0..255", "(RGB 0..255 - mean) / std"]
Output = Literal[
    "logits at native stride", "train ids at native stride", "train ids",
    "boxes x1 y1 x2 y2, train ids, scores",
]  # fmt: skip
RAW, NORMALIZED = get_args(Input)
LOGITS, NATIVE_IDS, IMAGE_IDS, BOXES = get_args(Output)
ADVICE = "get the file again, or export the model again"
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
    kind: Kind
    precision: Precision
    contents: tuple[bytes, ...] = field(repr=False)

    @property
    def input_size(self) -> Size:
        return self.interface.size

    @property
    def format(self) -> str:
        return f"{TITLES[self.kind]} {self.precision}"

    def network(self) -> nn.Module:
        return ExportedNetwork(self)


class ExportedNetwork(nn.Module):
    """An exported file as a network: float B 3 H W, normalised RGB, to logits B K h w.

    A file that gives train ids has the logit 1 at them and 0 elsewhere. The session is opened where
    the network first runs, or by `open`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, file: Exported) -> None:
        super().__init__()
        self.interface, self.source = file.interface, file.source
        self.kind: Kind = file.kind
        self.contents, self.num_classes = file.contents, file.job.num_classes
        self.session: Session | None = None
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"session": None}

    def open(self) -> Session:
        """Opens the session, with torch's number of threads here, unless it is open."""
        session = self.session
        if session is None:
            session = find_runtime(self.kind).open_session(self.contents, torch.get_num_threads())
            self.session = session
        return session

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != (3, *self.interface.size):
            height, width = self.interface.size
            raise ValueError(
                f"{self.source}: takes images B 3 {height} {width}, got {tuple(x.shape)}"
            )
        run = self.open().run
        x = x.detach() * self.std + self.mean if self.interface.raw else x.detach()
        arrays = (run(one.contiguous().numpy())[0] for one in x.split(1))
        found = torch.cat([torch.from_numpy(array) for array in arrays])
        if self.interface.labels is None:
            return found
        if int(found.max()) >= self.num_classes:
            raise ValueError(
                f"{self.source}: gives train id {int(found.max())}, but has {self.num_classes} "
                "classes"
            )
        return F.one_hot(found.long(), self.num_classes).permute(0, 3, 1, 2).float()


def read_exported(path: Path) -> Exported:
    """Reads and checks a file; ValueError says what is wrong with it."""
    kind = find_kind(path.name)
    assert kind is not None, path
    runtime = find_runtime(kind)
    try:
        contents, texts = runtime.read(path)
    except ValueError as error:
        raise ValueError(f"{error}; {ADVICE}") from None
    about = read_about(texts, path)
    interface = Interface(
        size=about.size,
        dynamic_batch=False,
        raw=about.input == RAW,
        labels=next(labels for labels, text in OUTPUTS.items() if text == about.output),
    )
    told = about.trained
    check_ports(kind, contents, interface, told.config.num_classes, path)
    return Exported(
        source=str(path),
        job=told.config,
        state_dict={},
        record=told.training,
        test=make_square(told.test),
        classes=told.classes,
        licence=told.licence,
        interface=interface,
        kind=kind,
        precision=about.precision,
        contents=contents,
    )


def read_about(texts: dict[str, str], path: Path) -> About:
    """Reads the metadata of `lemore export`; ValueError names a key that is missing or wrong.

    texts: JSON by key.
    """
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


def check_ports(
    kind: Kind, contents: tuple[bytes, ...], interface: Interface, num_classes: int, path: Path
) -> None:
    """Raises ValueError if its runtime refuses the file, or if its input and output are others
    than its metadata say."""
    try:
        session = find_runtime(kind).open_session(contents, 1)
    except Exception as error:  # the runtimes have several kinds, without a common one
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: its runtime does not load it ({text}); {ADVICE}") from None
    found = [(type, shape[1:]) for type, shape in session.ports]
    output: tuple[str, list[Any]] = ("uint8", list(interface.size))
    if interface.labels != "image":
        stride = found[-1][1][-2:] if found else []
        output = ("uint8", stride)
        if interface.labels is None:
            output = ("float32", [num_classes, *stride])
    wanted = [("float32", [3, *interface.size]), output]
    if found != wanted:
        raise ValueError(
            f"{path}: input and output are {found}, but its metadata mean {wanted} (without the "
            f"batch); {ADVICE}"
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
