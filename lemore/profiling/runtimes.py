"""The runtimes of exported files by the ends of the files' names."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lemore.config.formats import RUNTIMES, Kind, check_packages, find_kind
from lemore.profiling import executorch_file, litert_file, onnx_file, openvino_file


def find_runtime(kind: Kind) -> Any:
    """Returns the module with `read`, `open_session` and `describe` for a kind of files.

    ValueError says what to install, if it is missing.
    """
    check_packages(kind, RUNTIMES[kind])
    match kind:
        case "onnx":
            return onnx_file
        case "openvino":
            return openvino_file
        case "executorch":
            return executorch_file
        case "litert":
            return litert_file


class FileNetwork(nn.Module):
    """An exported file as a network on the CPU: B 3 H W -> the file's output, or all of several."""

    def __init__(self, path: Path, threads: int) -> None:
        super().__init__()
        kind = find_kind(path.name)
        assert kind, path
        runtime = find_runtime(kind)
        contents, _ = runtime.read(path)
        self.run = runtime.open_session(contents, threads).run

    def forward(self, x: Tensor) -> Any:
        found = [torch.from_numpy(one) for one in self.run(x.contiguous().numpy())]
        return found[0] if len(found) == 1 else found
