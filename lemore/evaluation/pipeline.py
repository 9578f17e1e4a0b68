"""Runs the stages of an evaluation in parallel: while the model runs, others read and measure."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import cv2
import torch

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

AHEAD = 2  # items that wait between two stages, beyond one for each thread


def overlap(
    read: Callable[[A], B],
    work: Callable[[B], C],
    finish: Callable[[C], D],
    items: Iterable[A],
    threads: int,
) -> Iterator[D]:
    """Yields finish(work(read(item))) for each item, in order.

    `work` runs here, the others in `threads` threads that compute on one core each. The number of
    items that wait between the stages is bounded. An error in any of them is raised here.
    """
    waiting = iter(items)
    started: deque[Future[B]] = deque()
    ending: deque[Future[D]] = deque()
    with ThreadPoolExecutor(threads, "evaluate", _use_one_core) as pool:
        try:
            started.extend(pool.submit(read, item) for item in islice(waiting, threads + AHEAD))
            while started:
                done = work(started.popleft().result())
                ending.append(pool.submit(finish, done))
                started.extend(pool.submit(read, item) for item in islice(waiting, 1))
                if len(ending) > threads + AHEAD:
                    yield ending.popleft().result()
            while ending:
                yield ending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _use_one_core() -> None:
    torch.set_num_threads(1)  # for this thread; the model keeps its number
    cv2.setNumThreads(1)
