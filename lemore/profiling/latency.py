"""How long a model takes for one image: p50 and p95 over repeated runs, and how they were taken."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WARMUP_SHARE = 0.2  # of the seconds allowed
MAX_REPETITIONS = 1000


@dataclass(frozen=True)
class Latency:
    """p50_ms, p95_ms: milliseconds per image; `protocol` says in words how they were measured."""

    p50_ms: float
    p95_ms: float
    repetitions: int
    warmup: int
    threads: int
    upsample: bool
    device: str
    protocol: str


def measure(
    model: nn.Module,
    input_size: tuple[int, int],
    *,
    threads: int,
    seconds: float,
    upsample: bool,
    device: str = "cpu",
) -> Latency:
    """Times one image of `input_size` (H, W), eval mode, inference_mode, channels_last, float32.

    threads: intra-op CPU threads while measuring; the former number is put back.
    seconds: wall time allowed, warm-up included; at least one warm-up and one timed run are made
    even if they take longer.
    upsample: whether the logits are resized (bilinear) to the input's size inside the timing.
    The model is left on `device`, in channels_last and in its former mode.
    """
    if threads < 1 or seconds <= 0:
        raise ValueError(f"latency: threads is {threads} and seconds {seconds}; both must be > 0")
    was_training, former = model.training, torch.get_num_threads()
    model.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    image = torch.randn(1, 3, *input_size, generator=torch.Generator().manual_seed(0))
    image = image.to(device=device, memory_format=torch.channels_last)
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            run = _run(model, image, upsample, torch.device(device))
            warmup, times = _repeat(run, seconds)
    finally:
        torch.set_num_threads(former)
        model.train(was_training)
    p50, p95 = torch.tensor(times, dtype=torch.float64).quantile(torch.tensor([0.5, 0.95]).double())
    return Latency(
        p50_ms=p50.item() * 1e3,
        p95_ms=p95.item() * 1e3,
        repetitions=len(times),
        warmup=warmup,
        threads=threads,
        upsample=upsample,
        device=device,
        protocol=_protocol(input_size, threads, upsample, device, warmup, len(times)),
    )


def _run(
    model: nn.Module, image: Tensor, upsample: bool, device: torch.device
) -> Callable[[], float]:
    """A function that runs the model once and returns the seconds that took."""
    size = (image.shape[-2], image.shape[-1])

    def run() -> float:
        start = time.perf_counter()
        logits = model(image)
        if upsample:
            F.interpolate(logits, size, mode="bilinear", align_corners=False)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    return run


def _repeat(run: Callable[[], float], seconds: float) -> tuple[int, list[float]]:
    """Warm-up runs made, and the seconds of each timed run; the last run ends within the limit."""
    start = time.perf_counter()
    warmup, longest = 0, 0.0
    while warmup == 0 or _fits(start, longest, seconds * WARMUP_SHARE):
        longest = run()  # the first run is not typical: only the latest counts
        warmup += 1
    times = [run()]
    while len(times) < MAX_REPETITIONS and _fits(start, max(times), seconds):
        times.append(run())
    return warmup, times


def _fits(start: float, run_seconds: float, limit: float) -> bool:
    return time.perf_counter() - start + run_seconds < limit


def _protocol(
    size: tuple[int, int], threads: int, upsample: bool, device: str, warmup: int, repetitions: int
) -> str:
    end = "logits resized to the input" if upsample else "logits at native stride"
    where = f"{device}, {threads} thread{'s' if threads > 1 else ''}"
    return (
        f"one image {size[0]}x{size[1]} (HxW), float32, channels_last, eval, inference_mode,"
        f" PyTorch {torch.__version__} eager, {where}, {end}; {warmup} warm-up runs, then the"
        f" median and 95th percentile of {repetitions} runs"
    )
