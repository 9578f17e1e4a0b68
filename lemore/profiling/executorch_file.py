"""ExecuTorch files (.pte), whose networks XNNPACK computes on the CPU.

Their metadata are what methods of the file return, one for each key. Files of others are read with
this too. ExecuTorch ends the process at some faults of a file, so each is first tried in another.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lemore.config.formats import WRITERS, Precision, check_packages
from lemore.profiling.session import Session, check_runs
from lemore.runtime.files import write_atomic

MAX_BYTES = 1 << 32
ABOUT = "about_"  # begins the names of the methods that return metadata
TRIAL = """
import sys, torch
from executorch.runtime import Runtime, Verification
check = Verification.InternalConsistency
program = Runtime.get().load_program(sys.stdin.buffer.read(), verification=check)
for name in program.method_names:
    method = program.load_method(name)
    about = method.metadata
    sizes = [about.input_tensor_meta(k).sizes() for k in range(about.num_inputs())]
    method.execute([torch.zeros(tuple(size)) for size in sizes])
"""
TYPES = {0: "uint8", 6: "float32"}  # by their numbers in a file


def describe() -> str:
    """Describes the runtime in the words of a protocol."""
    return f"ExecuTorch {version('executorch')} with XNNPACK in float32 or the file's INT8"


def write(
    model: nn.Module,
    path: Path,
    precision: Precision,
    images: Sequence[np.ndarray],
    metadata: Mapping[str, Any],
) -> None:
    """Writes a network's program. images: float32 1 3 H W as it takes them, for the size, and for
    INT8 (weights per output channel). metadata: values as JSON.

    ValueError if a package is missing.
    """
    check_packages("executorch", WRITERS["executorch"])
    from executorch.backends.xnnpack.partition import xnnpack_partitioner  # pyright: ignore[reportMissingImports]
    from executorch.exir import to_edge_transform_and_lower  # pyright: ignore[reportMissingImports]

    example = (torch.from_numpy(images[0]),)
    program = torch.export.export(model, example)
    if precision == "int8":
        program = torch.export.export(_quantize(program.module(), images), example)
    about = {f"{ABOUT}{name}": json.dumps(value) for name, value in metadata.items()}
    lowered = to_edge_transform_and_lower(
        program, partitioner=[xnnpack_partitioner.XnnpackPartitioner()], constant_methods=about
    )
    write_atomic(path, lowered.to_executorch().buffer)


def _quantize(model: nn.Module, images: Sequence[np.ndarray]) -> nn.Module:
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer  # pyright: ignore[reportMissingImports]
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e  # pyright: ignore[reportMissingImports]

    config = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
    quantizer = xnnpack_quantizer.XNNPACKQuantizer().set_global(config)
    prepared = prepare_pt2e(model, quantizer)
    for image in images:
        prepared(torch.from_numpy(image))
    return convert_pt2e(prepared)


def read(path: Path) -> tuple[tuple[bytes, ...], dict[str, str]]:
    """Reads a file's content and its metadata; ValueError says what is wrong with it."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: larger than {MAX_BYTES:,} bytes")
    content = path.read_bytes()
    check_runs(TRIAL, content, path, "ExecuTorch")
    program, texts = _load(content), {}
    for method in program.method_names:
        if method.startswith(ABOUT):
            (value,) = program.load_method(method).execute([])
            texts[method.removeprefix(ABOUT)] = str(value)
    return (content,), texts


def open_session(contents: tuple[bytes, ...], threads: int) -> Session:
    """Opens a session on the CPU; the number of threads is that of all sessions of the process.

    RuntimeError if ExecuTorch refuses the file.
    """
    from executorch.extension.pybindings import portable_lib  # pyright: ignore[reportMissingImports]

    portable_lib._unsafe_reset_threadpool(threads)
    program = _load(contents[0])
    method = program.load_method("forward")
    about = method.metadata
    tensors = [about.input_tensor_meta(k) for k in range(about.num_inputs())]
    tensors += [about.output_tensor_meta(k) for k in range(about.num_outputs())]
    ports = [(TYPES.get(one.dtype(), str(one.dtype())), list(one.sizes())) for one in tensors]
    return Session(partial(_run, method, program), ports)


def _load(content: bytes) -> Any:
    from executorch.runtime import Runtime, Verification  # pyright: ignore[reportMissingImports]

    check = Verification.InternalConsistency
    return Runtime.get().load_program(content, verification=check)


def _run(method: Any, _program: Any, image: np.ndarray) -> list[np.ndarray]:
    return [method.execute([torch.from_numpy(image)])[0].numpy()]
