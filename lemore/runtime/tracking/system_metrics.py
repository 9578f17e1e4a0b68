"""Samples of the machine on which a training runs, named and measured as MLflow's monitor does.

That monitor would import MLflow in the worker and end when the store is away. Here a thread appends
rows to the training's file of metrics, like the training itself.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from lemore.runtime.tracking.metrics_file import SYSTEM, MetricsFile, is_of_system

log = logging.getLogger(__name__)
# Variables of MLflow; the Snakefile sets the first for `system_metrics: true`.
SWITCH, INTERVAL = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"
SECONDS = "10"
CLOSING_SECONDS = 5.0  # a driver may hang


def choose_interval() -> float:
    """Returns the seconds between two samples as the environment says, 0 for none."""
    if os.environ.get(SWITCH, "").lower() not in ("true", "1"):
        return 0.0
    return float(os.environ.get(INTERVAL) or SECONDS)


@contextmanager
def record_system_metrics(file: Path, seconds: float) -> Iterator[None]:
    """Appends a sample to `file` every so many seconds and one at the end; none for 0 seconds.

    A sample's step is its number. A resumed training goes on with the next one.
    """
    if not seconds:
        yield
        return
    done = threading.Event()
    arguments = (MetricsFile(file), seconds, done)
    thread = threading.Thread(target=_record, args=arguments, daemon=True, name="system metrics")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(CLOSING_SECONDS)


def _record(file: MetricsFile, seconds: float, done: threading.Event) -> None:
    try:
        earlier = [row["step"] for row in file.read() if is_of_system(row)]
        step = max(earlier, default=-1) + 1
        read_host, read_gpus = watch_host(file.path.parent), watch_gpus()
        ended = False
        while not ended:
            ended = done.wait(seconds)
            sample = read_host() | read_gpus()
            file.append(step, {f"{SYSTEM}{name}": round(v, 1) for name, v in sample.items()})
            step += 1
    except Exception as error:  # nothing of this may stop the training
        log.warning("system metrics end here (%s: %s)", type(error).__name__, error)


def watch_host(folder: Path) -> Callable[[], dict[str, float]]:
    """Returns what reads processors, memory, network and the disk that holds `folder`.

    Processors are averaged since the last reading, the network is counted from now on.
    """
    psutil.cpu_percent()
    begin = psutil.net_io_counters()

    def read() -> dict[str, float]:
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(folder))
        found = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / 1e6,
            "system_memory_usage_percentage": 100 * memory.used / memory.total,
            "disk_usage_percentage": disk.percent,
            "disk_usage_megabytes": disk.used / 1e6,
            "disk_available_megabytes": disk.free / 1e6,
        }
        network = psutil.net_io_counters()
        if begin and network:  # a machine may have none
            received, sent = (network[k] - begin[k] for k in (1, 0))
            found["network_receive_megabytes"] = received / 1e6
            found["network_transmit_megabytes"] = sent / 1e6
        return found

    return read


def watch_gpus() -> Callable[[], dict[str, float]]:
    """Returns what reads the NVIDIA GPUs of this machine: none without a driver, or where it does
    not run Linux."""
    try:
        import pynvml as nvml

        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(k) for k in range(nvml.nvmlDeviceGetCount())]
    except Exception:  # ImportError, or the library's own error
        return dict
    return lambda: {
        f"gpu_{k}_{name}": value
        for k, handle in enumerate(handles)
        for name, value in read_gpu(nvml, handle).items()
    }


def read_gpu(nvml: Any, handle: Any) -> dict[str, float]:
    """Reads memory, use and power of a GPU, without what its driver does not tell."""
    found = {}
    with suppress(nvml.NVMLError):
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        found["memory_usage_percentage"] = 100 * memory.used / memory.total
        found["memory_usage_megabytes"] = memory.used / 1e6
    with suppress(nvml.NVMLError):
        found["utilization_percentage"] = nvml.nvmlDeviceGetUtilizationRates(handle).gpu
    with suppress(nvml.NVMLError):
        power = nvml.nvmlDeviceGetPowerUsage(handle)  # milliwatts
        limit = nvml.nvmlDeviceGetEnforcedPowerLimit(handle)
        found["power_usage_watts"] = power / 1000
        found["power_usage_percentage"] = 100 * power / limit
    return found
