"""System metrics: MLflow's own names and values, in the training's file of metrics."""

import sys
import types

import pytest
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from lemore.runtime.tracking import system_metrics
from lemore.runtime.tracking.metrics_file import MetricsFile
from lemore.runtime.tracking.system_metrics import (
    choose_interval,
    record_system_metrics,
    watch_gpus,
    watch_host,
)


class NVMLError(Exception):
    pass


def fake_nvml(count: int, power: bool = True) -> types.ModuleType:
    """A driver with `count` GPUs, of which the first works; they may not tell their power."""

    def read_power(handle: int) -> int:
        if not power:
            raise NVMLError("not supported")
        return 350_000

    memory = types.SimpleNamespace(used=60e9, total=80e9)
    found = types.ModuleType("pynvml")
    found.NVMLError = NVMLError
    found.nvmlInit = lambda: None
    found.nvmlDeviceGetCount = lambda: count
    found.nvmlDeviceGetHandleByIndex = lambda index: index
    found.nvmlDeviceGetMemoryInfo = lambda handle: memory
    found.nvmlDeviceGetUtilizationRates = lambda handle: types.SimpleNamespace(
        gpu=97 * (not handle)
    )
    found.nvmlDeviceGetPowerUsage = read_power
    found.nvmlDeviceGetEnforcedPowerLimit = lambda handle: 700_000
    return found


def ask(monitor) -> dict[str, float]:
    """What a monitor of MLflow's measures."""
    monitor.collect_metrics()
    return monitor.aggregate_metrics()


def test_the_host_is_measured_as_mlflow_does(tmp_path):
    read = watch_host(tmp_path)
    monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    expected = {name: value for monitor in monitors for name, value in ask(monitor).items()}
    found = read()
    assert found.keys() == expected.keys()
    memory = "system_memory_usage_percentage"
    assert found[memory] == pytest.approx(expected[memory], abs=5)
    assert 0 <= found["cpu_utilization_percentage"] <= 100


@pytest.mark.parametrize("power", [True, False])
def test_gpus_are_measured_as_mlflow_does(monkeypatch, power):
    from mlflow.system_metrics.metrics import gpu_monitor

    nvml = fake_nvml(2, power)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(gpu_monitor, "pynvml", nvml, raising=False)
    expected = ask(gpu_monitor.GPUMonitor())
    assert len(expected) == (10 if power else 6)
    assert watch_gpus()() == expected


def test_a_machine_without_gpus_or_driver_has_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert watch_gpus()() == {}
    nvml = fake_nvml(1)

    def fail():
        raise NVMLError("driver not loaded")

    nvml.nvmlInit = fail
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert watch_gpus()() == {}


def test_samples_go_on_after_a_resume_that_trains_some_iterations_again(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for _ in range(2):
        file.rewind(10)  # as a resumed training does
        with record_system_metrics(file.path, 0.02):
            file.append(20, {"train/loss": 1.0})
            while len([row for row in file.read() if row["step"] % 20]) < 2:
                pass
    rows = file.read()
    assert [row["step"] for row in rows if "train/loss" in row["metrics"]] == [20]
    steps = [row["step"] for row in rows if "system/cpu_utilization_percentage" in row["metrics"]]
    assert len(steps) >= 3 and steps == list(range(len(steps)))


def test_a_short_training_has_one_sample_and_none_unless_wanted(tmp_path):
    for seconds, count in ((0.0, 0), (100.0, 1)):
        file = MetricsFile(tmp_path / f"{seconds}.jsonl")
        with record_system_metrics(file.path, seconds):
            pass
        assert len(file.read()) == count


def test_a_measurement_that_fails_does_not_stop_the_training(tmp_path, monkeypatch, caplog):
    def fail():
        raise RuntimeError("no /proc here")

    monkeypatch.setattr(system_metrics.psutil, "cpu_percent", fail)
    with record_system_metrics(tmp_path / "metrics.jsonl", 0.01):
        pass
    assert "system metrics end here (RuntimeError: no /proc here)" in caplog.text


def test_mlflows_variables_switch_and_time_the_samples(monkeypatch):
    monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", raising=False)
    monkeypatch.delenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", raising=False)
    assert choose_interval() == 0.0
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    assert choose_interval() == 10.0
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "2.5")
    assert choose_interval() == 2.5
