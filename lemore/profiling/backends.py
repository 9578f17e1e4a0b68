"""The ways to run a network whose latency is measured; each becomes a function of an image."""

import copy
import shutil
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lemore.config import formats
from lemore.config.run import Backend
from lemore.profiling import export, onnx_file

BACKENDS: tuple[Backend, ...] = get_args(Backend)
Run = Callable[[], object]


def explain_absence(backend: Backend) -> str | None:
    """Says why a backend cannot run on this machine; None if it can."""
    if backend == "cuda" and not torch.cuda.is_available():
        return "torch sees no CUDA device"
    if backend == "compiled" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return "torch.compile needs a C++ compiler (g++)"
    if backend == "onnxruntime":
        return formats.explain_absence("onnx", formats.WRITERS["onnx"])
    return None


def get_device(backend: Backend) -> torch.device:
    return torch.device("cuda" if backend == "cuda" else "cpu")


def prepare(
    backend: Backend, model: nn.Module, image: Tensor, ends: Iterable[bool], threads: int
) -> dict[bool, Run]:
    """Makes a function for each of `ends`, which runs `model` (eval, CPU) on `image` 1 3 H W.

    ends: whether the logits are then resized (bilinear) to the image's size. For CUDA a function
    returns when the device has finished.
    """
    if backend == "onnxruntime":
        return {end: _prepare_onnxruntime(model, image, end, threads) for end in ends}
    device = get_device(backend)
    model = copy.deepcopy(model).to(device)
    network: Callable[[Tensor], Tensor] = model.to(memory_format=torch.channels_last)
    image = image.to(device=device, memory_format=torch.channels_last)
    if backend == "compiled":
        torch.compiler.reset()  # drops what was compiled for another network
        network = torch.compile(model, dynamic=False, options={"freezing": True})
        network(image)  # compiles it
    return {end: partial(_run, network, image, end) for end in ends}


def _run(network: Callable[[Tensor], Tensor], image: Tensor, upsample: bool) -> Tensor:
    logits = network(image)
    if upsample:
        logits = F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)
    if image.device.type == "cuda":
        torch.cuda.synchronize(image.device)
    return logits


def _prepare_onnxruntime(model: nn.Module, image: Tensor, upsample: bool, threads: int) -> Run:
    size = (image.shape[-2], image.shape[-1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export.write_onnx(export.Deployed(model, resize_to=size if upsample else None), image, path)
        session = onnx_file.open_session((path.read_bytes(),), threads)
    return partial(session.run, image.numpy())
