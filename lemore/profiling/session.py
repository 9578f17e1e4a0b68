"""An exported file that its runtime has opened, the same for all of them.

Some runtimes end the process at some faults of a file, so that they first try it in another one.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from signal import Signals
from typing import Any, NamedTuple

import numpy as np


class Session(NamedTuple):
    """run: from float32 B 3 H W to the file's outputs. ports: NumPy's name of the type, and the
    shape, of each input and then of each output."""

    run: Callable[[np.ndarray], list[np.ndarray]]
    ports: list[tuple[str, list[Any]]]


def check_runs(program: str, content: bytes, path: Path, runtime: str) -> None:
    """Gives a file's content to a Python program that opens and runs it, in a process of its own.

    ValueError says why the program ended, if it failed.
    """
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, input=content, capture_output=True)
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().split("\n")[-1][:200]
        if done.returncode < 0:
            words = f"it ends the process by {Signals(-done.returncode).name}"
        raise ValueError(f"{path}: {runtime} does not run it ({words})")
