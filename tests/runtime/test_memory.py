"""A training that runs out of memory says so, and what to do, whoever ended it."""

from pathlib import Path

import pytest
import torch
from ray.exceptions import ActorDiedError, OutOfMemoryError

from lemore.runtime.ray import execute, memory
from lemore.runtime.ray.cluster import Resources
from lemore.runtime.ray.execute import Work, WorkerLost
from lemore.runtime.worker import Worker

LOW = OutOfMemoryError("1 worker(s) were killed due to the node running low on memory. Memory on")
REMEDY = "ran out of memory: set micro_batch"


class Stop:
    def install(self) -> None:
        pass

    def __call__(self) -> int:
        return 0


class Failed(Exception):
    """As Ray Train's, which takes long to import."""

    def __init__(self, worker_failures: dict[int, Exception]):
        self.worker_failures = worker_failures


def told(monkeypatch, folder: Path, error: Exception, kills: list[int]) -> str:
    """How a training ends that is lost again and again; kills: of the kernel, before and after."""
    counts = iter(kills)

    def lose(*args):
        raise WorkerLost(error)

    monkeypatch.setattr(execute.cluster, "connect", lambda resources: resources)
    monkeypatch.setattr(execute, "run_task", lose)
    monkeypatch.setattr(memory, "count_kernel_kills", lambda: next(counts))
    with pytest.raises(OSError, match="3 times without a new checkpoint") as ended:
        execute.execute(
            Work("", None, Worker(folder, folder, 0)), Resources("local", 1, 1, 0), Stop()
        )
    return str(ended.value)


@pytest.mark.parametrize(
    ("error", "kills", "words"),
    [
        (LOW, [0] * 6, f"lost the worker, which {REMEDY}"),
        (ActorDiedError(), [4, 4, 4, 4, 4, 5], f"so perhaps it {REMEDY}"),
        (ActorDiedError(), [4] * 6, ""),
    ],
)
def test_a_loss_for_want_of_memory_is_told(monkeypatch, tmp_path, error, kills, words):
    found = told(monkeypatch, tmp_path, error, kills)
    assert words in found and (REMEDY in found) == bool(words)


def test_what_ray_says_of_the_one_counts_more_than_what_the_others_saw():
    lost = execute.find_cause(Failed({0: RuntimeError("Connection closed by peer"), 1: LOW}))
    assert isinstance(lost, WorkerLost) and lost.args[0] is LOW


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (MemoryError(), True),
        (RuntimeError("shapes differ"), False),
    ],
)
def test_an_allocation_that_fails_is_told_and_ends_the_training(
    monkeypatch, tmp_path, error, short
):
    def train(job, worker):
        raise error

    monkeypatch.setattr(execute, "resolve", lambda function: train)
    work = Work("", None, Worker(tmp_path, tmp_path, 0))
    with pytest.raises(OSError if short else RuntimeError) as ended:
        execute.execute(work, Resources("none", 1, 1, 0), Stop())
    assert (REMEDY in str(ended.value)) == short


@pytest.mark.parametrize(
    ("text", "count"), [("a 1\noom_kill 7\nb 2\n", 7), ("a 1\n", 0), (None, 0)]
)
def test_the_kernels_count(monkeypatch, tmp_path, text, count):
    monkeypatch.setattr(memory, "KERNEL", tmp_path / "vmstat")
    if text is not None:
        (tmp_path / "vmstat").write_text(text)
    assert memory.count_kernel_kills() == count
