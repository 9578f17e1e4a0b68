"""The formats of exported files: their precisions, the ends of their names, and what they need.

Torch-free.
"""

import importlib.util
from collections.abc import Iterable
from typing import Literal

Kind = Literal["onnx", "openvino", "executorch"]
Precision = Literal["float32", "float16", "int8"]
# of each kind in float32, with float16 inside, and in 8 bits
Format = Literal[
    "onnx", "onnx_fp16", "onnx_int8",
    "openvino", "openvino_fp16", "openvino_int8",
    "executorch", "executorch_int8",
]  # fmt: skip
PRECISIONS: dict[str, Precision] = {"": "float32", "fp16": "float16", "int8": "int8"}
SUFFIXES: dict[Kind, str] = {"onnx": ".onnx", "openvino": ".xml", "executorch": ".pte"}
TITLES: dict[Kind, str] = {"onnx": "ONNX", "openvino": "OpenVINO", "executorch": "ExecuTorch"}
RUNTIMES: dict[Kind, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "executorch": ("executorch",),
}
ONNX_WRITERS = (*RUNTIMES["onnx"], "onnxscript")
WRITERS: dict[Kind, tuple[str, ...]] = {
    "onnx": ONNX_WRITERS,
    "openvino": (*ONNX_WRITERS, "nncf", "openvino"),  # it is made from ONNX
    "executorch": ("executorch", "torchao"),
}
EXTRAS: dict[Kind, str] = {"onnx": "export", "openvino": "openvino", "executorch": "executorch"}


def split_format(format: Format) -> tuple[Kind, Precision]:
    kinds: dict[str, Kind] = {kind: kind for kind in SUFFIXES}
    name, _, precision = format.partition("_")
    return kinds[name], PRECISIONS[precision]


def find_kind(file: str) -> Kind | None:
    """Finds the kind of an exported file by the end of its name; None: it has none of them."""
    return next((kind for kind, suffix in SUFFIXES.items() if file.endswith(suffix)), None)


def explain_absence(kind: Kind, packages: Iterable[str]) -> str | None:
    """Says which of a kind's packages are missing, and what installs them; None if all are here."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"needs {', '.join(absent)}: pip install 'lemore[{EXTRAS[kind]}]'" if absent else None


def explain_absences(formats: Iterable[Format]) -> dict[Format, str]:
    """Says of each format that cannot be written and run here why it is left out."""
    found = {}
    for format in formats:
        kind, _ = split_format(format)
        if reason := explain_absence(kind, WRITERS[kind]):
            found[format] = reason
    return found


def check_packages(kind: Kind, packages: Iterable[str]) -> None:
    """Raises ValueError that says what to install, if a package is missing."""
    if reason := explain_absence(kind, packages):
        raise ValueError(f"{TITLES[kind]} {reason}")
