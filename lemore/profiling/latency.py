"""How long a model takes for one image: p50 and p95 over repeated runs, and how they were taken."""

import importlib.metadata
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from lemore.config.run import Backend
from lemore.profiling import backends, memory

WARMUP_SHARE = 0.2  # of the seconds allowed
MIN_REPETITIONS, MAX_REPETITIONS = 3, 1000
HOW = {
    "eager": "channels_last, eager",
    "compiled": "channels_last, torch.compile (inductor, frozen weights)",
    "onnxruntime": "NCHW, ONNX Runtime {onnxruntime}, CPU, all graph optimisations",
    "cuda": "channels_last, eager, device synchronised after every run",
}


@dataclass(frozen=True)
class Latency:
    """p50_ms, p95_ms: milliseconds per image; `protocol` says in words how they were measured.

    prepare_s: seconds that it took to compile or to convert the model.
    peak_memory_mb: MiB, None where it cannot be told; `memory` says in words what it is.
    """

    backend: Backend
    upsample: bool
    p50_ms: float
    p95_ms: float
    prepare_s: float
    repetitions: int
    warmup: int
    threads: int
    device: str
    peak_memory_mb: float | None
    memory: str
    protocol: str


def measure(
    model: nn.Module,
    input_size: tuple[int, int],
    *,
    backend: Backend,
    threads: int,
    seconds: float,
    ends: Sequence[bool],
) -> list[Latency]:
    """Times one image of `input_size` (H, W), eval mode, inference_mode, float32.

    threads: intra-op CPU threads while measuring; the former number is put back.
    seconds: wall time allowed after the first run, warm-up included; three timed runs are made
    even if they take longer.
    ends: for each whether the logits are resized (bilinear) to the input's size in the timing.
    The model stays as it is. ValueError if the backend cannot run here.
    """
    if threads < 1 or seconds <= 0:
        raise ValueError(f"latency: threads is {threads} and seconds {seconds}; both must be > 0")
    if reason := backends.missing(backend):
        raise ValueError(f"latency: backend {backend}: {reason}")
    was_training, former = model.training, torch.get_num_threads()
    image = torch.randn(1, 3, *input_size, generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(threads)
    try:
        model.eval()
        with torch.inference_mode():
            start = time.perf_counter()
            runs = backends.prepare(backend, model, image, ends, threads)
            prepare_s = time.perf_counter() - start
            measured = [
                _measure(runs[end], backend, input_size, threads, seconds, end) for end in ends
            ]
    finally:
        torch.set_num_threads(former)
        model.train(was_training)
    return [replace(one, prepare_s=prepare_s) for one in measured]


def _measure(
    run: Callable[[], object],
    backend: Backend,
    size: tuple[int, int],
    threads: int,
    seconds: float,
    upsample: bool,
) -> Latency:
    device = backends.device_of(backend)
    with memory.watch(device) as peak:
        times = repeat(run, seconds)
    return Latency(
        backend=backend,
        upsample=upsample,
        p50_ms=times.p50 * 1e3,
        p95_ms=times.p95 * 1e3,
        prepare_s=0.0,
        repetitions=times.repetitions,
        warmup=times.warmup,
        threads=threads,
        device=device.type,
        peak_memory_mb=peak.peak_mb,
        memory=peak.how,
        protocol=_protocol(backend, size, threads, upsample, times),
    )


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Times(NamedTuple):
    """Seconds of one run, median and 95th percentile, and how many there were of which kind."""

    p50: float
    p95: float
    warmup: int
    repetitions: int


def repeat(run: Callable[[], object], seconds: float) -> Times:
    """Runs once, then warms up, then times; the last run ends within `seconds` of the first."""
    run()
    start = time.perf_counter()
    warmup, longest = 1, _seconds(run)
    while _fits(start, longest, seconds * WARMUP_SHARE):
        longest = _seconds(run)
        warmup += 1
    times = [_seconds(run) for _ in range(MIN_REPETITIONS)]
    while len(times) < MAX_REPETITIONS and _fits(start, max(times), seconds):
        times.append(_seconds(run))
    p50, p95 = np.quantile(times, [0.5, 0.95])
    return Times(float(p50), float(p95), warmup, len(times))


def _fits(start: float, run_seconds: float, limit: float) -> bool:
    return time.perf_counter() - start + run_seconds < limit


def _tf32() -> str:
    """Whether PyTorch multiplies float32 in TF32, which is faster and less exact."""
    uses = {"convolutions": torch.backends.cudnn, "matrix products": torch.backends.cuda.matmul}
    states = [f"{'on' if one.allow_tf32 else 'off'} in {name}" for name, one in uses.items()]
    return f"TF32 {', '.join(states)}"


def _protocol(
    backend: Backend,
    size: tuple[int, int],
    threads: int,
    upsample: bool,
    times: Times,
) -> str:
    end = "logits resized to the input" if upsample else "logits at native stride"
    how = HOW[backend]
    if backend == "onnxruntime":
        how = how.format(onnxruntime=importlib.metadata.version("onnxruntime"))
    where = f"{torch.cuda.get_device_name()}, {_tf32()}" if backend == "cuda" else "CPU"
    return (
        f"one image {size[0]}x{size[1]} (HxW), float32, eval, inference_mode,"
        f" PyTorch {torch.__version__}, {how}, {where}, {threads} thread{'s' * (threads > 1)},"
        f" {end}; first run and {times.warmup} warm-up runs left out, then the median and 95th"
        f" percentile of {times.repetitions} runs"
    )
