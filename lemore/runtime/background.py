"""Checkpoints written beside the training: it goes on while a snapshot is put on disk."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from torch import Tensor

from lemore.runtime.checkpoint import Checkpoints


class BackgroundCheckpoints(Checkpoints):
    """`save` takes a copy and returns; one thread writes. All that is said of `Checkpoints` holds.

    At most one write is under way: the next `save` waits for it, and so does leaving the `with`.
    A failed write is raised by whichever of them comes first. A kill meanwhile leaves the
    checkpoint before.
    """

    def __init__(self, checkpoints: Checkpoints):
        self.__dict__ |= checkpoints.__dict__
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self.pending: Future[None] | None = None

    def save(self, iteration: int, content: dict[str, Any]) -> None:
        self.wait()
        self.pending = self.thread.submit(super().save, iteration, snapshot(content))

    def wait(self) -> None:
        """Until the last state is on disk."""
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> "BackgroundCheckpoints":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self.thread.shutdown()


def snapshot(value: Any) -> Any:
    """A copy of nested mappings and lists, tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [snapshot(item) for item in value]
    return value
