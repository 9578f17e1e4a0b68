"""What this machine is."""

import os
import platform
from pathlib import Path


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def processor() -> str:
    """Name of the CPU, as the system gives it."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().split("\n") if path.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
