"""Work spread over processes, results in order, memory bounded."""

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import TypeVar

import cv2

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int, chunk: int = 8
) -> Iterator[R]:
    """Yields `function(item)` in the order of `items`; at most 4 chunks a worker wait at a time.

    A worker that dies is an error here, not a hang. One worker is this process itself.
    """
    iterator = iter(items)
    if workers <= 1:
        yield from map(function, iterator)
        return
    waiting: deque[Future[list[R]]] = deque()
    spawn = multiprocessing.get_context("spawn")  # a forked child hangs in OpenCV's thread pool
    with ProcessPoolExecutor(workers, spawn, _start_worker, (os.getpid(),)) as pool:
        try:
            while True:
                while len(waiting) < 4 * workers and (batch := list(islice(iterator, chunk))):
                    waiting.append(pool.submit(_apply, function, batch))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start_worker(parent: int) -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends a worker with its parent: after a kill it would keep the parent's lock."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _apply(function: Callable[[T], R], batch: list[T]) -> list[R]:
    return [function(item) for item in batch]
