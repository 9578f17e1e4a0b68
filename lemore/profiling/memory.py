"""Measures the peak memory of a stretch of work, and says how."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

MEGABYTE = 2**20
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESIDENT = (
    "growth of the process's peak resident memory over its resident memory before the first run"
    " (Linux VmHWM, reset), freed memory handed back before; weights not counted"
)
ALLOCATED = "growth of PyTorch's peak allocated CUDA memory; weights not counted"
UNKNOWN = "not measured: this system has no /proc/self/clear_refs"


@dataclass
class Peak:
    """peak_mb: MiB, None where the system cannot tell; `how` describes the measurement."""

    peak_mb: float | None
    how: str


@contextmanager
def watch_peak(device: torch.device) -> Iterator[Peak]:
    """Fills the `Peak` that it yields when its block ends."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before, peak = torch.cuda.memory_allocated(device), Peak(None, ALLOCATED)
        yield peak
        peak.peak_mb = (torch.cuda.max_memory_allocated(device) - before) / MEGABYTE
    elif STATUS.exists() and CLEAR.exists():
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
        if trim is not None:
            trim(0)
        CLEAR.write_text("5")  # sets the peak back to what is resident now
        before, peak = _read_kilobytes("VmRSS"), Peak(None, RESIDENT)
        yield peak
        peak.peak_mb = (_read_kilobytes("VmHWM") - before) * 1024 / MEGABYTE
    else:
        yield Peak(None, UNKNOWN)


def _read_kilobytes(name: str) -> int:
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0])
