"""What this machine is, and which processes live on it."""

import os
import platform
import socket
from dataclasses import dataclass
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


def start_time(pid: int) -> str:
    """Start time of a process in clock ticks since boot, "" if there is none (Linux)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state == "Z" else rest[18]


@dataclass(frozen=True)
class Process:
    """A process that can be told from a later one with the same number."""

    pid: int
    started: str
    host: str

    @classmethod
    def own(cls) -> "Process":
        return cls(os.getpid(), start_time(os.getpid()), socket.gethostname())

    @classmethod
    def parse(cls, text: str) -> "Process | None":
        """From str(process), None if `text` is none."""
        parts = text.split()
        return cls(int(parts[0]), parts[1], parts[2]) if len(parts) == 3 else None

    def __str__(self) -> str:
        return f"{self.pid} {self.started} {self.host}"

    def here(self) -> bool:
        """Whether it is one of this host, so that its life can be told."""
        return self.host == socket.gethostname()

    def alive(self) -> bool:
        """Whether it still runs, if it is of this host."""
        return bool(self.started) and start_time(self.pid) == self.started
