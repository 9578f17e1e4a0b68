"""LiteRT files (.tflite), which its interpreter runs on the CPU.

The converter, litert-torch, and the quantiser that comes with it, ai-edge-quantizer, need other
versions of packages than this project, and therefore run in an environment of their own, whose
Python LEMORE_LITERT_PYTHON names. Metadata are the file's own, one entry for each key. Files of
others are read with this too. LiteRT ends the process at some faults of a file, so each is first
tried in another.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lemore.config.formats import LITERT_PYTHON, WRITERS, Precision, check_packages
from lemore.profiling.session import Session, check_runs
from lemore.runtime.files import write_atomic

MAX_BYTES = (1 << 31) - 1
ABOUT = "lemore_"  # begins the names of the metadata
CONVERT = """
import sys, torch, litert_torch
program = torch.export.load(sys.argv[1])
class Network(torch.nn.Module):
    def forward(self, x):
        return network(x)
network = program.module()
litert_torch.convert(Network().eval(), program.example_inputs[0]).export(sys.argv[2])
"""
# Input and output stay float32, and so do the operators that the quantiser does not know.
QUANTIZE = """
import sys, numpy
from ai_edge_quantizer import quantizer, recipe_manager
from ai_edge_quantizer.qtyping import TFLOperationName as Name
recipe = recipe_manager.RecipeManager()
recipe.add_static_config(".*", Name.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
for name in (Name.INPUT, Name.OUTPUT):
    recipe.add_quantization_config(".*", name, algorithm_key="no_quantize")
tool = quantizer.Quantizer(sys.argv[1], recipe.get_quantization_recipe())
feeds = [{"args_0": image} for image in numpy.load(sys.argv[2])]
ranges = tool.calibrate({"serving_default": feeds}, num_threads=1)
tool.quantize(ranges).export_model(sys.argv[3])
"""
TRIAL = """
import sys, numpy
from ai_edge_litert import interpreter
try:
    opened = interpreter.Interpreter(model_content=sys.stdin.buffer.read(), num_threads=1)
    opened.allocate_tensors()
    for one in opened.get_input_details():
        opened.set_tensor(one["index"], numpy.zeros(one["shape"], one["dtype"]))
    opened.invoke()
except Exception as error:
    sys.exit(" ".join(str(error).split()))
"""


def describe() -> str:
    """Describes the runtime in the words of a protocol."""
    return f"LiteRT {version('ai-edge-litert')} with XNNPACK in float32 or the file's INT8"


def convert(model: nn.Module, image: Tensor, path: Path) -> None:
    """Writes a network in float32 for images like `image` 1 3 H W, without metadata.

    ValueError if a package is missing, or with the converter's last lines if it fails.
    """
    check_packages("litert", WRITERS["litert"])
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "network.pt2")
        torch.export.save(torch.export.export(model, (image,)), source)
        _run_tool("converter", CONVERT, source, path)


def write(
    source: Path,
    path: Path,
    precision: Precision,
    images: Sequence[np.ndarray],
    metadata: Mapping[str, Any],
) -> None:
    """Writes a converted network with its metadata (values as JSON), for INT8 after quantising it.

    images: float32 1 3 H W as the file takes them. Weights are quantised per output channel,
    activations per tensor. ValueError with the quantiser's last lines if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        if precision == "int8":
            data, made = Path(folder, "images.npy"), Path(folder, "int8.tflite")
            np.save(data, np.stack(images))
            _run_tool("quantiser", QUANTIZE, source, data, made)
            source = made
        write_atomic(path, _add_metadata(source.read_bytes(), metadata))


def _run_tool(name: str, program: str, *paths: Path) -> None:
    """Runs a program in the converter's environment; the last of `paths` is what it writes."""
    command = [os.environ.get(LITERT_PYTHON, sys.executable), "-c", program, *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not paths[-1].exists():
        raise ValueError(f"LiteRT: its {name} failed: {done.stderr.strip()[-500:]}")


def _add_metadata(content: bytes, metadata: Mapping[str, Any]) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema  # pyright: ignore[reportMissingImports]

    model = schema.ModelT.InitFromPackedBuf(content)
    for buffer in model.buffers:
        if buffer.size:  # the quantiser puts data behind the structure, which moves here
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    for name, value in metadata.items():
        entry, buffer = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer = f"{ABOUT}{name}", len(model.buffers)
        buffer.data = np.frombuffer(json.dumps(value).encode(), np.uint8)
        model.metadata.append(entry)
        model.buffers.append(buffer)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def read(path: Path) -> tuple[tuple[bytes, ...], dict[str, str]]:
    """Reads a file's content and its metadata; ValueError says what is wrong with it."""
    from ai_edge_litert import schema_py_generated as schema  # pyright: ignore[reportMissingImports]

    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: larger than {MAX_BYTES:,} bytes")
    content = path.read_bytes()
    check_runs(TRIAL, content, path, "LiteRT")
    try:
        model = schema.Model.GetRootAs(content)
        entries = [model.Metadata(k) for k in range(model.MetadataLength())]
        buffers = {(one.Name() or b"").decode(): model.Buffers(one.Buffer()) for one in entries}
        found = {name: buffer.DataAsNumpy() for name, buffer in buffers.items()}
        texts = {
            name.removeprefix(ABOUT): data.tobytes().decode()
            for name, data in found.items()
            if name.startswith(ABOUT)
        }
    except Exception as error:  # a buffer that lies elsewhere, of several kinds
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: not a whole LiteRT file ({text})") from None
    return (content,), texts


def open_session(contents: tuple[bytes, ...], threads: int) -> Session:
    """Opens a session on the CPU; ValueError or RuntimeError if LiteRT refuses the file."""
    interpreter = _open(contents[0], threads)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    ports = [(one["dtype"].__name__, one["shape"].tolist()) for one in (*inputs, *outputs)]
    places = inputs[0]["index"], outputs[0]["index"]
    return Session(partial(_run, interpreter, *places), ports)


def _open(content: bytes, threads: int) -> Any:
    from ai_edge_litert import interpreter  # pyright: ignore[reportMissingImports]

    opened = interpreter.Interpreter(model_content=content, num_threads=threads)
    opened.allocate_tensors()
    return opened


def _run(interpreter: Any, source: int, target: int, image: np.ndarray) -> list[np.ndarray]:
    interpreter.set_tensor(source, image)
    interpreter.invoke()
    return [interpreter.get_tensor(target)]
