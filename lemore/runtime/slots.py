"""GPU slots, each the share of a node's GPUs that one worker of a training takes, and its cores."""

import os
from collections.abc import Iterable
from pathlib import Path

DEVICES = Path("/dev")


def count_gpus() -> int:
    """Returns how many GPUs this process may use, without asking a driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(list(DEVICES.glob("nvidia[0-9]*")))
    return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])


def count_slots(nodes: Iterable[float], share: float) -> int:
    """Returns how many workers that take `share` of the GPUs, a part of one or a whole number, find
    room on nodes with so many GPUs."""
    if share < 1:
        return sum(int(gpus) * int(1 / share + 1e-9) for gpus in nodes)
    return sum(int(gpus // share) for gpus in nodes)


def share_cores(wanted: int, cores: int, slots: int) -> int:
    """Returns the cores of one of `slots` workers on a node: fewer than wanted, and at least one,
    rather than a GPU without work."""
    return min(wanted, max(1, cores // max(slots, 1)))
