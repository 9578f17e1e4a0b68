"""Detects that something ended because memory ran out, and says what to do about it."""

import re
from pathlib import Path

REMEDY = (
    "ran out of memory: set micro_batch (the same batch in parts), lower loader_workers or "
    "batch_size in the recipe, or run fewer trainings at once"
)
KERNEL = Path("/proc/vmstat")


def count_kernel_kills() -> int:
    """Returns how many processes the kernel has ended for lack of memory, 0 if it does not say."""
    found = re.search(r"^oom_kill (\d+)$", KERNEL.read_text(), re.M) if KERNEL.exists() else None
    return int(found[1]) if found else 0


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error is, or reports, an allocation that failed."""
    words = ("out of memory", "can't allocate memory", "STATUS_ALLOC_FAILED")  # cuBLAS and cuDNN
    if isinstance(error, RuntimeError):  # of torch, on any device
        return any(word in str(error) for word in words)
    return isinstance(error, MemoryError)
