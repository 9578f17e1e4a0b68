"""A network as a file that runs without this project: ONNX (float32, float16, INT8), torch.export.

The input is float32 B 3 H W at one fixed H and W. Tensors that depend on the size alone, such as
LeMoRe's mixing matrices, are then constants of the file.
"""

import copy
import json
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.config.formats import WRITERS, check_packages
from lemore.config.size import Size
from lemore.runtime.files import write_atomic

INPUT, OUTPUT = "image", "output"
METADATA = "lemore.json"  # beside the program in a torch.export file


class Deployed(nn.Module):
    """A network together with its pre- and post-processing, each on request; B 3 H W.

    normalization: (mean, std) of R, G, B: the input is then 0..255, not normalised.
    resize_to: (H, W) to which the logits are resized (bilinear); None leaves them as they are.
    labels: return the best class of each pixel, uint8 B H W, not the logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
        resize_to: Size | None = None,
        labels: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.resize_to, self.labels = model, resize_to, labels
        self.normalized = normalization is None
        mean, std = normalization or ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.normalized:
            x = (x - self.mean) / self.std
        x = self.model(x)
        if self.resize_to is not None:
            x = F.interpolate(x, self.resize_to, mode="bilinear", align_corners=False)
        return x.argmax(1).to(torch.uint8) if self.labels else x


def write_onnx(
    model: nn.Module,
    image: Tensor,
    path: Path,
    *,
    dynamic_batch: bool = False,
    metadata: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = (OUTPUT,),
) -> None:
    """Writes `model` (eval mode) for images like `image` 1 3 H W, named "image" -> "output".

    dynamic_batch: any number of images at a time. metadata: kept in the file, values as JSON.
    outputs: their names, where the model has others. ValueError if a package is missing.
    """
    check_packages("onnx", WRITERS["onnx"])
    for name in ("onnxscript", "onnx_ir"):  # they log every constant that they fold
        logging.getLogger(name).setLevel(logging.WARNING)
    model = copy.deepcopy(model).eval().to(memory_format=torch.contiguous_format)
    for module in model.modules():
        # A single point's dilation only keeps PyTorch's CPU convolutions off a slow path.
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.dilation = (1, 1)
    example, shapes = _make_example(image, dynamic_batch)
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=[INPUT],
        output_names=[*outputs],
        dynamic_shapes=shapes,
    )
    assert program is not None
    _write_proto(program.model_proto, path, metadata or {})


def write_torch_export(
    model: nn.Module,
    image: Tensor,
    path: Path,
    *,
    dynamic_batch: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Writes `model` as a program of torch.export (.pt2); `metadata` is its file lemore.json.

    Weights lie channels last, which is fast in PyTorch's CPU convolutions for any image's layout.
    """
    example, shapes = _make_example(image, dynamic_batch)
    example = example.to(memory_format=torch.channels_last)
    network = copy.deepcopy(model).eval().to(memory_format=torch.channels_last)
    program = torch.export.export(network, (example,), dynamic_shapes=shapes)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "program.pt2"
        torch.export.save(program, made, extra_files={METADATA: json.dumps(metadata or {})})
        write_atomic(path, made.read_bytes())


def quantize(source: Path, path: Path, images: Iterable[np.ndarray]) -> None:
    """Writes an ONNX file's INT8 form: static quantisation, calibrated on `images`.

    images: float32 1 3 H W as the file takes them; some dozens that resemble later ones.
    Weights are quantised per output channel, activations per tensor (QDQ), their ranges being the
    mean of the images' extremes: the extremes of all images would be those of a few outliers.
    """
    check_packages("onnx", WRITERS["onnx"])
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    feeds = ({INPUT: image} for image in images)

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        with ExitStack() as stack:
            logging.root.addFilter(_is_wanted)
            stack.callback(logging.root.removeFilter, _is_wanted)
            quant_pre_process(str(source), str(prepared))
            quantization.quantize_static(
                str(prepared),
                str(made),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                extra_options={"CalibMovingAverage": True},
            )
        proto = onnx.load(made)
    _write_proto(proto, path, read_metadata(source) | {"precision": "int8"})


def halve(source: Path, path: Path) -> None:
    """Writes an ONNX file's form in float16: weights, and what is computed but for the operators
    that ONNX Runtime's converter keeps in float32. Input and output keep their types.
    """
    check_packages("onnx", WRITERS["onnx"])
    import onnx
    from onnxruntime.transformers import float16

    proto = float16.convert_float_to_float16(onnx.load(source), keep_io_types=True)
    _write_proto(proto, path, read_metadata(source) | {"precision": "float16"})


def _is_wanted(record: logging.LogRecord) -> bool:
    """Returns whether a record is none of the quantiser's remarks on weights without channels."""
    return "out-of-range for weight" not in record.getMessage()


class ProgramNetwork(nn.Module):
    """A torch.export file as a network; B 3 H W -> the file's output."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        # Not as a submodule: it would refuse eval(), which it is in already.
        self.program = (torch.export.load(path).module(),)

    def forward(self, x: Tensor) -> Tensor:
        return self.program[0](x)


def read_metadata(path: Path) -> dict[str, Any]:
    """Reads the metadata that `write_onnx` kept in a file."""
    import onnx

    return {p.key: json.loads(p.value) for p in onnx.load(path).metadata_props}


def _make_example(image: Tensor, dynamic_batch: bool) -> tuple[Tensor, Any]:
    """Makes the image to trace with, and its dynamic shapes; a batch of one would be constant."""
    image = image.contiguous()
    if not dynamic_batch:
        return image, None
    return torch.cat([image, image]), ({0: torch.export.Dim("batch")},)


def _write_proto(proto: Any, path: Path, metadata: Mapping[str, Any]) -> None:
    import onnx

    onnx.helper.set_model_props(proto, {key: json.dumps(v) for key, v in metadata.items()})
    write_atomic(path, proto.SerializeToString())
