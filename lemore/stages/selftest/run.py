"""Goes through every path that differs on a device, and writes what was found as one page."""

import logging
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lemore.reporting.pages.selftest import render
from lemore.runtime.device import DeviceName, choose_device
from lemore.runtime.files import write_atomic, write_json
from lemore.runtime.process import count_cores, read_processor_name
from lemore.runtime.provenance import find_commit, list_versions
from lemore.stages.planning.doctor import read_driver
from lemore.stages.selftest import networks, trainings
from lemore.stages.selftest.bench import Bench
from lemore.stages.selftest.outcome import CheckOutcome, Figure, run_check

Check = Callable[[Bench], list[Figure]]
CHECKS: dict[str, Check] = {
    "fp32": trainings.check_fp32,
    "lemore": trainings.check_main,
    "bf16": trainings.check_bf16,
    "fp16": trainings.check_fp16,
    "adamw": trainings.check_adamw,
    "micro-batches": trainings.check_micro_batches,
    "average": trainings.check_average,
    "guard": trainings.check_guard,
    "distortion": trainings.check_distortion,
    "loader": trainings.check_loader,
    "resume": trainings.check_resume,
    "pretraining": trainings.check_pretraining,
    "network": networks.check_network,
    "evaluation": networks.check_evaluation,
    "tta": networks.check_tta,
    "slide": networks.check_slide,
    "predict": networks.check_predict,
    "tiles": networks.check_tiles,
    "latency": networks.check_latency,
    "export": networks.check_export,
    "memory": trainings.check_memory,
    "speed": trainings.check_speed,
    "compile": trainings.check_compile,
    "workers": trainings.check_workers,
}
SLOW = ("fp16", "adamw", "pretraining", "export", "memory", "speed", "compile", "workers")


@dataclass(frozen=True)
class SelftestOptions:
    """Options of the command. output: the page (.html); the JSON lies beside it."""

    device: DeviceName
    quick: bool
    threads: int
    output: Path


def selftest(options: SelftestOptions) -> int:
    """Runs the checks, prints a line for each, writes page and JSON; returns 1 if one failed.

    Progress and logs of the trainings go to a .log beside the page.
    """
    if options.output.suffix != ".html":
        raise ValueError(f"--output: {options.output} should end in .html")
    device = choose_device(options.device)
    names = [name for name in CHECKS if not (options.quick and name in SLOW)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    outcomes = []
    with (
        tempfile.TemporaryDirectory(prefix="lemore_selftest_") as folder,
        write_log(options.output.with_suffix(".log")),
    ):
        bench = Bench(Path(folder), device, options.threads)
        for name in names:
            outcomes.append(run(name, bench))
            print(outcomes[-1].describe(), flush=True)
    record = describe_machine(device, options) | {"checks": [one.list_facts() for one in outcomes]}
    results = [one.result for one in outcomes]
    record["counts"] = {kind: results.count(kind) for kind in ("passed", "failed", "skipped")}
    write_json(options.output.with_suffix(".json"), record)
    write_atomic(options.output, render(record))
    print(", ".join(f"{number} {kind}" for kind, number in record["counts"].items()))
    print(options.output)
    return int("failed" in results)


@contextmanager
def write_log(path: Path) -> Iterator[None]:
    """Sends what is logged or written to stderr to a file, meanwhile."""
    root = logging.getLogger()
    before = list(root.handlers)
    with open(path, "w") as file, redirect_stderr(file):
        root.handlers = [logging.StreamHandler(file)]
        try:
            yield
        finally:
            root.handlers = before


def run(name: str, bench: Bench) -> CheckOutcome:
    """Runs one of `CHECKS`."""
    return run_check(name, partial(CHECKS[name], bench), CHECKS[name].__doc__ or "")


def describe_machine(device: torch.device, options: SelftestOptions) -> dict[str, Any]:
    about: dict[str, Any] = {
        "device": read_processor_name(),
        "kind": device.type,
        "quick": options.quick,
        "threads": options.threads,
        "cores": count_cores(),
        "system": platform.platform(),
        "versions": list_versions(),
        "code": find_commit(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        about |= {
            "device": properties.name,
            "devices": torch.cuda.device_count(),
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": f"sm_{properties.major}{properties.minor}",
            "architectures": torch.cuda.get_arch_list(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": read_driver(),
        }
    return about
