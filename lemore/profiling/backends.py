"""The ways to run a network whose latency is measured; each becomes a function of an image."""

import copy
import importlib.util
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.profiling import export
from lemore.profiling.schema import Backend

BACKENDS: tuple[Backend, ...] = get_args(Backend)
Run = Callable[[], object]


def missing(backend: Backend) -> str | None:
    """Why a backend cannot run on this machine, None if it can."""
    if backend == "cuda" and not torch.cuda.is_available():
        return "torch sees no CUDA device"
    if backend == "compiled" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return "torch.compile needs a C++ compiler (g++)"
    if backend == "onnxruntime":
        absent = [name for name in export.PACKAGES if importlib.util.find_spec(name) is None]
        return f"needs {', '.join(absent)}: pip install 'lemore[export]'" if absent else None
    return None


def device_of(backend: Backend) -> torch.device:
    return torch.device("cuda" if backend == "cuda" else "cpu")


def prepare(backend: Backend, model: nn.Module, image: Tensor, upsample: bool, threads: int) -> Run:
    """A function that runs `model` (eval mode, on the CPU) once on `image` 1 3 H W.

    upsample: the logits are then resized (bilinear) to the image's size. For CUDA the function
    returns when the device has finished.
    """
    size = (image.shape[-2], image.shape[-1])
    if backend == "onnxruntime":
        return _onnxruntime(model, image, size if upsample else None, threads)
    device = device_of(backend)
    model = copy.deepcopy(model).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = image.to(device=device, memory_format=torch.channels_last)
    call = _compiled(model) if backend == "compiled" else model

    def run() -> Tensor:
        logits = call(image)
        if upsample:
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return logits

    return run


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    torch.compiler.reset()  # what was compiled for another network
    return torch.compile(model, dynamic=False, options={"freezing": True})


def _onnxruntime(
    model: nn.Module, image: Tensor, resize_to: tuple[int, int] | None, threads: int
) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export.to_onnx(export.Deployed(model, resize_to=resize_to), image, path)
        session = export.session(path, threads)
    feed = {export.INPUT: image.numpy()}
    return lambda: session.run(None, feed)
