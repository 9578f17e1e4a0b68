"""The time of a model for one image: p50 and p95 over repeated runs, and the protocol."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from lemore.config.formats import Kind
from lemore.config.run import Backend
from lemore.config.size import Size
from lemore.profiling import backends
from lemore.profiling.memory import watch_peak
from lemore.profiling.runtimes import find_runtime

WARMUP_SHARE = 0.2  # of the seconds allowed
MIN_REPETITIONS, MAX_REPETITIONS = 3, 1000
NATIVE = "logits at native stride"
HOW = {
    "eager": "channels_last, eager",
    "compiled": "channels_last, torch.compile (inductor, frozen weights)",
    "cuda": "channels_last, eager, device synchronised after every run",
}


@dataclass(frozen=True)
class Latency:
    """p50_ms, p95_ms: milliseconds per image; `protocol` describes the measurement in words.

    prepare_s: seconds that compiling or converting the model took.
    peak_memory_mb: MiB, None where it is unknown; `memory` describes its measurement in words.
    """

    backend: Backend | Kind
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
    input_size: Size,
    *,
    backend: Backend,
    threads: int,
    seconds: float,
    ends: Sequence[bool],
    outputs: str = NATIVE,
) -> list[Latency]:
    """Times one image of `input_size` (H, W), eval mode, inference_mode, float32.

    threads: intra-op CPU threads while measuring; the former number is put back. seconds: wall time
    allowed after the first run, warm-up included; three timed runs are made even if they take
    longer. ends: for each timing, whether it includes resizing the logits (bilinear) to the input's
    size. outputs: what the model returns, in words. The model is not changed. ValueError if the
    backend cannot run here.
    """
    if threads < 1 or seconds <= 0:
        raise ValueError(f"latency: threads is {threads} and seconds {seconds}; both must be > 0")
    if reason := backends.explain_absence(backend):
        raise ValueError(f"latency: backend {backend}: {reason}")
    image = torch.randn(1, 3, *input_size, generator=torch.Generator().manual_seed(0))
    measured = []
    with ExitStack() as former:
        former.callback(torch.set_num_threads, torch.get_num_threads())
        former.callback(model.train, model.training)
        torch.set_num_threads(threads)
        former.enter_context(torch.inference_mode())
        start = time.perf_counter()
        runs = backends.prepare(backend, model.eval(), image, ends, threads)
        prepare_s = time.perf_counter() - start
        for end in ends:
            place = (backend, input_size, threads, seconds, prepare_s)
            words = "logits resized to the input" if end else outputs
            measured.append(_measure_run(runs[end], *place, end, words))
    return measured


def measure_file(
    kind: Kind, contents: tuple[bytes, ...], input_size: Size, *, threads: int, seconds: float
) -> Latency:
    """Times one image of `input_size` in an exported file, as `measure` does."""
    image = torch.randn(1, 3, *input_size, generator=torch.Generator().manual_seed(0))
    start = time.perf_counter()
    session = find_runtime(kind).open_session(contents, threads)
    prepare_s = time.perf_counter() - start
    run = partial(session.run, image.numpy())
    return _measure_run(run, kind, input_size, threads, seconds, prepare_s, False, NATIVE)


def _measure_run(
    run: Callable[[], object],
    backend: Backend | Kind,
    input_size: Size,
    threads: int,
    seconds: float,
    prepare_s: float,
    upsample: bool,
    outputs: str,
) -> Latency:
    device = torch.device("cuda" if backend == "cuda" else "cpu")
    with watch_peak(device) as peak:
        [times] = repeat([run], seconds)
    return Latency(
        backend=backend,
        upsample=upsample,
        p50_ms=times.p50 * 1e3,
        p95_ms=times.p95 * 1e3,
        prepare_s=prepare_s,
        repetitions=times.repetitions,
        warmup=times.warmup,
        threads=threads,
        device=device.type,
        peak_memory_mb=peak.peak_mb,
        memory=peak.how,
        protocol=describe_protocol(backend, input_size, threads, outputs, times),
    )


def _time(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Times(NamedTuple):
    """Median and 95th percentile of a run's seconds; the numbers of untimed and timed runs."""

    p50: float
    p95: float
    warmup: int
    repetitions: int


def repeat(runs: Sequence[Callable[[], object]], seconds: float) -> list[Times]:
    """Runs each once, warms up, then times, in rounds of one run of each.

    What else the machine does thus meets all alike. The last round ends within `seconds` for each
    run after the first one.
    """
    for run in runs:
        run()
    seconds *= len(runs)
    start = time.perf_counter()

    def fits(round_seconds: float, limit: float) -> bool:
        return time.perf_counter() - start + round_seconds < limit

    def time_round() -> list[float]:
        return [_time(run) for run in runs]

    warmup, longest = 1, sum(time_round())
    while fits(longest, seconds * WARMUP_SHARE):
        longest = sum(time_round())
        warmup += 1
    rounds = [time_round() for _ in range(MIN_REPETITIONS)]
    while len(rounds) < MAX_REPETITIONS and fits(max(map(sum, rounds)), seconds):
        rounds.append(time_round())
    quantiles = np.quantile(rounds, [0.5, 0.95], axis=0).T.tolist()
    return [Times(p50, p95, warmup, len(rounds)) for p50, p95 in quantiles]


def measure_in_turn(
    runs: Mapping[str, Callable[[], object]], seconds: float
) -> dict[str, dict[str, Any]]:
    """Times runs on the CPU as `repeat` does; the first run of each gives its peak memory.

    Returns by name what `Latency` calls p50_ms, p95_ms, repetitions, warmup, peak_memory_mb and
    memory.
    """
    peaks = {}
    for name, run in runs.items():
        with watch_peak(torch.device("cpu")) as peaks[name]:
            run()
    times = dict(zip(runs, repeat(list(runs.values()), seconds), strict=True))
    return {
        name: {
            "p50_ms": times[name].p50 * 1e3,
            "p95_ms": times[name].p95 * 1e3,
            "repetitions": times[name].repetitions,
            "warmup": times[name].warmup,
            "peak_memory_mb": peak.peak_mb,
            "memory": peak.how,
        }
        for name, peak in peaks.items()
    }


def describe_protocol(
    backend: Backend | Kind, size: Size, threads: int, outputs: str, times: Times
) -> str:
    if (how := HOW.get(backend)) is None:
        kind = "onnx" if backend == "onnxruntime" else backend
        how = f"NCHW, {find_runtime(kind).describe()}"  # pyright: ignore[reportArgumentType]
    where = "CPU"
    if backend == "cuda":  # TF32 multiplies float32 faster and less exactly
        uses = {"convolutions": torch.backends.cudnn, "matrix products": torch.backends.cuda.matmul}
        states = [f"{'on' if one.allow_tf32 else 'off'} in {name}" for name, one in uses.items()]
        where = f"{torch.cuda.get_device_name()}, TF32 {', '.join(states)}"
    return (
        f"one image {size[0]}x{size[1]} (HxW), float32, eval, inference_mode,"
        f" PyTorch {torch.__version__}, {how}, {where}, {threads} thread{'s' * (threads > 1)},"
        f" {outputs}; first run and {times.warmup} warm-up runs left out, then the median and 95th"
        f" percentile of {times.repetitions} runs"
    )
