"""OpenVINO files: an .xml that describes the network, and the .bin of its weights beside it.

They are made from ONNX files, whose metadata OpenVINO keeps in the .xml's runtime information.
Files of others are read with this too: they may hold OpenVINO's own operators alone, and OpenVINO
gets the bytes of both files, so that no name in them is looked up.
"""

import json
import os
import re
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from lemore.config.formats import WRITERS, Precision, check_packages
from lemore.profiling.session import Session
from lemore.runtime.files import write_atomic

MAX_XML, MAX_WEIGHTS = 1 << 26, 1 << 32  # bytes
SECTION = "framework"  # of the runtime information, where metadata of ONNX files are kept
# OpenVINO would else compute in bfloat16 or float16 where the processor can.
HINTS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}


def describe() -> str:
    """Describes the runtime in the words of a protocol."""
    hints = ", ".join(f"{name} {value}" for name, value in HINTS.items())
    return f"OpenVINO {version('openvino')} with {hints}"


def write(
    source: Path,
    path: Path,
    precision: Precision,
    images: Sequence[np.ndarray],
) -> list[str]:
    """Writes an ONNX file's form for OpenVINO: `path` (.xml) and its .bin. Returns the names of the
    layers that an INT8 file computes in float32 by design.

    float16 is that of the weights, which OpenVINO computes with in float32. INT8 is calibrated on
    `images`, float32 1 3 H W as the file takes them, by NNCF's own settings. ValueError if a
    package is missing.
    """
    check_packages("openvino", WRITERS["openvino"])
    import openvino  # pyright: ignore[reportMissingImports]

    model, kept = openvino.Core().read_model(source), []
    if precision == "int8":
        os.environ.setdefault("NNCF_CI", "1")  # else it reports its use to its makers
        import nncf  # pyright: ignore[reportMissingImports]

        kept = _find_miscomputed(model)
        model = nncf.quantize(
            model,
            nncf.Dataset(images),
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=kept),
        )
    model.set_rt_info(json.dumps(precision), [SECTION, "precision"])
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.xml"
        openvino.save_model(model, made, compress_to_fp16=precision == "float16")
        for suffix in (".bin", ".xml"):
            write_atomic(path.with_suffix(suffix), made.with_suffix(suffix).read_bytes())
    return kept


def _find_miscomputed(model: Any) -> list[str]:
    """Names the linear layers before a depthwise convolution, such as SegFormer's feed-forward has.

    OpenVINO 2026.4 computes them wrongly in INT8, fused with what follows, on a CPU with VNNI.
    """
    names = []
    for layer in model.get_ops():
        if layer.get_type_name() == "GroupConvolution":
            before = layer.input_value(0).get_node()
            while before.get_type_name() in ("Add", "Reshape", "Transpose"):
                before = before.input_value(0).get_node()
            if before.get_type_name() == "MatMul":
                names.append(before.get_friendly_name())
    return names


def read(path: Path) -> tuple[tuple[bytes, ...], dict[str, str]]:
    """Reads both files' content and the metadata; ValueError says what is wrong with them."""
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise ValueError(f"{path}: its weights are missing, expected beside it: {weights.name}")
    for file, limit in ((path, MAX_XML), (weights, MAX_WEIGHTS)):
        if file.stat().st_size > limit:
            raise ValueError(f"{file}: larger than {limit:,} bytes")
    contents = path.read_bytes(), weights.read_bytes()
    root = _parse(contents[0], path)
    for layer in root.iter("layer"):
        opset = layer.get("version", "")
        if not re.fullmatch(r"opset\d{1,2}", opset):
            raise ValueError(
                f"{path}: operator {opset}::{layer.get('type')} is not one of OpenVINO's own"
            )
    found = root.findall(f"rt_info/{SECTION}/*")
    return contents, {one.tag: one.get("value", "") for one in found}


def _parse(content: bytes, path: Path) -> ElementTree.Element:
    """Parses an .xml in UTF-8 without a document type, and so without entities."""
    try:
        text = content.decode("utf-8")
        if "<!" in text:
            raise ValueError("it declares entities or has comments")
        root = ElementTree.fromstring(text)
        if root.tag != "net":
            raise ValueError(f"its root is '{root.tag}', expected 'net'")
    except (ValueError, ElementTree.ParseError, RecursionError) as error:
        raise ValueError(f"{path}: not an OpenVINO file ({error})") from None
    return root


def open_session(contents: tuple[bytes, ...], threads: int) -> Session:
    """Opens a session on the CPU; RuntimeError if OpenVINO refuses the file."""
    import openvino  # pyright: ignore[reportMissingImports]

    core = openvino.Core()
    model = core.read_model(model=contents[0], weights=contents[1])
    compiled = core.compile_model(model, "CPU", HINTS | {"INFERENCE_NUM_THREADS": str(threads)})
    return Session(
        partial(_run, compiled.create_infer_request()),
        [_describe_port(port) for port in (*compiled.inputs, *compiled.outputs)],
    )


def _describe_port(port: Any) -> tuple[str, list[Any]]:
    shape = [side.get_length() if side.is_static else None for side in port.get_partial_shape()]
    return port.get_element_type().to_dtype().name, shape


def _run(request: Any, image: np.ndarray) -> list[np.ndarray]:
    return [request.infer([image])[0]]
