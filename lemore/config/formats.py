"""The formats of exported files: their precisions, the ends of their names, and what they need.

Torch-free.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterable
from typing import Literal

Kind = Literal["onnx", "openvino", "executorch", "litert"]
Precision = Literal["float32", "float16", "int8"]
# of each kind in float32, with float16 inside, and in 8 bits
Format = Literal[
    "onnx", "onnx_fp16", "onnx_int8",
    "openvino", "openvino_fp16", "openvino_int8",
    "executorch", "executorch_int8",
    "litert", "litert_int8",
]  # fmt: skip
PRECISIONS: dict[str, Precision] = {"": "float32", "fp16": "float16", "int8": "int8"}
SUFFIXES: dict[Kind, str] = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "executorch": ".pte",
    "litert": ".tflite",
}
TITLES: dict[Kind, str] = {
    "onnx": "ONNX",
    "openvino": "OpenVINO",
    "executorch": "ExecuTorch",
    "litert": "LiteRT",
}
RUNTIMES: dict[Kind, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "executorch": ("executorch",),
    "litert": ("ai_edge_litert",),
}
ONNX_WRITERS = (*RUNTIMES["onnx"], "onnxscript")
WRITERS: dict[Kind, tuple[str, ...]] = {
    "onnx": ONNX_WRITERS,
    "openvino": (*ONNX_WRITERS, "nncf", "openvino"),  # it is made from ONNX
    "executorch": ("executorch", "torchao"),
    "litert": ("ai_edge_litert", "litert_torch"),
}
EXTRAS: dict[Kind, str] = {kind: "export" if kind == "onnx" else kind for kind in WRITERS}
# names the Python of the environment of LiteRT's converter, which needs other versions of packages
LITERT_PYTHON = "LEMORE_LITERT_PYTHON"
LITERT_CONVERTER = (
    "needs its converter in an environment of its own: python -m venv litert && "
    f"litert/bin/pip install litert-torch && export {LITERT_PYTHON}=litert/bin/python"
)


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
    reasons = []
    if "litert_torch" in absent:
        absent.remove("litert_torch")
        if not shutil.which(os.environ.get(LITERT_PYTHON, "")):
            reasons.append(LITERT_CONVERTER)
    if absent:
        reasons.append(f"needs {', '.join(absent)}: pip install 'lemore[{EXTRAS[kind]}]'")
    return ", and ".join(reasons) or None


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
