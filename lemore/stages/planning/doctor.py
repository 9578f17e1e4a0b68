"""Checks an installation and the machine; each finding says what to do about it."""

import fcntl
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from lemore.runtime.process import explain_no_compiler
from lemore.runtime.shipped import INSTALLED, SHIPPED

GIB = 2**30
SHARED = Path("/dev/shm")
DRIVER = Path("/proc/driver/nvidia/version")
DRIVERS = {"11": 450, "12": 525, "13": 580}  # the oldest that runs each CUDA
LOCK = SHIPPED / "requirements.lock"
SETUP = "pip install --upgrade lemore" if INSTALLED else "make setup"
ACCOUNTS = {
    "Cityscapes": ("CITYSCAPES_USERNAME", "CITYSCAPES_PASSWORD"),
    "ImageNet": ("IMAGENET_COOKIE",),
}


@dataclass(frozen=True)
class Finding:
    """An `error` stops a run, a `warning` may; `remedy` says what to do, "" for nothing."""

    level: Literal["ok", "warning", "error"]
    about: str
    text: str
    remedy: str = ""


def diagnose(folder: Path, configfiles: list[Path], as_json: bool) -> int:
    """Prints the findings for runs in `folder`, with these configuration files if there are any;
    returns 1 if one is an error."""
    findings = list(check_packages())
    if all(finding.level != "error" for finding in findings):  # the others import packages
        for check in (check_compute, check_memory, check_storage, check_services, check_tools):
            findings += check(folder)
        findings += check_recipes(configfiles) if configfiles else []
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{finding.level:<8} {finding.about}: {finding.text}")
            if finding.remedy:
                print(f"{'':<8} -> {finding.remedy}")
        counts = {level: sum(f.level == level for f in findings) for level in ("error", "warning")}
        print(", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in counts.items()))
    return int(any(finding.level == "error" for finding in findings))


def check_packages() -> Iterator[Finding]:
    """Checks that all packages that lemore needs are installed, in the versions of the lock."""
    asked = [text for text in metadata.requires("lemore") or [] if "extra ==" not in text]
    needed = [re.split(r"[^\w.-]", text)[0] for text in asked]
    missing = [name for name in needed if _find_version(name) is None]
    if missing:
        yield Finding("error", "packages", f"missing: {', '.join(missing)}", SETUP)
        return
    yield Finding("ok", "packages", f"Python {sys.version.split()[0]}, all packages are installed")
    if LOCK.exists():
        locked = dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text(), re.MULTILINE))
        others = [n for n, v in locked.items() if _find_version(n) not in (None, v)]
        if others:
            text = ", ".join(f"{name} {_find_version(name)}, not {locked[name]}" for name in others)
            yield Finding("warning", "packages", f"other than locked: {text}", SETUP)


def _find_version(name: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)


def check_compute(_: Path) -> Iterator[Finding]:
    """Checks that torch computes, and on which device."""
    from lemore.runtime.process import count_cores, read_processor_name

    try:
        import torch
        import torchvision

        torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3))
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:  # a broken installation fails in many ways
        remedy = "install the versions of requirements.lock"
        yield Finding("error", "torch", f"does not work ({error})", remedy)
        return
    yield Finding("ok", "torch", f"{torch.__version__}, torchvision {torchvision.__version__}")
    yield Finding("ok", "CPU", f"{read_processor_name()}, {count_cores()} cores for this process")
    yield from check_gpus()


def check_gpus() -> Iterator[Finding]:
    """Checks that every GPU computes: the driver suits torch's CUDA, which has its kernels."""
    import torch

    driver, cuda = read_driver(), torch.version.cuda or ""
    needed = DRIVERS.get(cuda.partition(".")[0], 0)
    on_cpu = "`ray: {gpus: 0}` in the configuration trains on the CPU"
    if driver and int(driver.partition(".")[0]) < needed:
        text = f"the driver {driver} is too old for torch's CUDA {cuda}, which needs {needed}"
        yield Finding("error", "GPU", text, f"install driver {needed} or newer; {on_cpu}")
    elif not torch.cuda.is_available():
        text = f"the driver {driver} is there, but torch sees no GPU" if driver else "none"
        yield Finding("warning" if driver else "ok", "GPU", text, on_cpu)
    else:
        for number in range(torch.cuda.device_count()):
            yield check_gpu(number, driver)


def read_driver() -> str:
    """Returns the version of NVIDIA's driver, "" if there is none."""
    text = DRIVER.read_text() if DRIVER.exists() else ""
    found = re.search(r"Module +(?:for \S+ +)?(\d+[\d.]*)", text)
    return found[1] if found else ""


def check_gpu(number: int, driver: str) -> Finding:
    """Runs a convolution on a GPU."""
    import torch

    major, minor = torch.cuda.get_device_capability(number)
    kernels = torch.cuda.get_arch_list()
    text = f"{number}: {torch.cuda.get_device_name(number)}, sm_{major}{minor}"
    if not any(has_kernels(kernel, major, minor) for kernel in kernels):
        held = f"torch {torch.__version__} holds kernels for {', '.join(kernels)} only"
        remedy = "install a torch that has them, or hide this GPU: CUDA_VISIBLE_DEVICES"
        return Finding("error", "GPU", f"{text}: {held}", remedy)
    try:
        free, total = torch.cuda.mem_get_info(number)
        image = torch.ones(1, 1, 4, 4, device=f"cuda:{number}")
        torch.nn.functional.conv2d(image, image).sum().item()
    except RuntimeError as error:
        fault = f"a convolution fails ({' '.join(str(error).split())[:200]})"
        return Finding("error", "GPU", f"{text}: {fault}", "see nvidia-smi; hide or free this GPU")
    memory = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    return Finding(
        "ok", "GPU", f"{text}, driver {driver or 'unknown'}, {memory}; kernels: {' '.join(kernels)}"
    )


def has_kernels(kernel: str, major: int, minor: int) -> bool:
    """Returns whether kernels ("sm_86", "compute_90", "sm_90a") run on an architecture: those of
    the same major number, and compute_*, from which a driver makes those of later ones."""
    kind, _, version = kernel.partition("_")
    built = divmod(int(version.rstrip("af")), 10)
    exact = version[-1] in "af"
    if exact or (kind == "sm" and built[0] != major):
        return built == (major, minor)
    return built <= (major, minor)


def check_recipes(configfiles: list[Path]) -> Iterator[Finding]:
    """Checks what a run's recipes need: shared memory for loader processes, and a compiler."""
    from lemore.stages.planning.loading import list_trainings

    shared = shutil.disk_usage(SHARED).total if SHARED.exists() else 0
    trainings, at_once = list_trainings(configfiles)
    largest = max(trainings, key=lambda t: t.shared_bytes, default=None)
    if largest is not None and largest.shared_bytes and SHARED.exists():
        need = largest.shared_bytes * at_once
        text = (
            f"{shared / GIB:.1f} GiB, and the loader processes of {largest.name} fill "
            f"{need / GIB:.1f} ({largest.describe()}, {at_once} training(s) at once)"
        )
        size = math.ceil(1.2 * need / GIB)
        remedy = f"docker run --shm-size={size}g, or lower loader_workers in the recipe"
        small = shared < need
        yield Finding("error" if small else "ok", "/dev/shm", text, remedy if small else "")
    compiling = [t.name for t in trainings if t.compiles]
    if compiling:
        missing = explain_no_compiler(on_gpu=trainings[0].gpus > 0)
        text = f"{', '.join(compiling)}: compile is true, and {missing or 'a compiler is here'}"
        yield Finding("error" if missing else "ok", "compiler", text)


def check_memory(_: Path) -> Iterator[Finding]:
    """Checks memory for a training, some 2 GiB a process."""
    import psutil

    free = psutil.virtual_memory().available / GIB
    low = "one training takes about 2 GiB: run with fewer cores" if free < 4 else ""
    yield Finding("warning" if low else "ok", "memory", f"{free:.1f} GiB available", low)
    if SHARED.exists():
        size = shutil.disk_usage(SHARED).total / GIB
        small = "lemore doctor --configfile ... says what its loader processes need"
        level = "warning" if size < 1 else "ok"
        yield Finding(level, "/dev/shm", f"{size:.1f} GiB", small if size < 1 else "")


def check_storage(folder: Path) -> Iterator[Finding]:
    """Checks that the folder of the runs can be written and locked, and has space."""
    place = folder.absolute()
    try:
        with tempfile.NamedTemporaryFile(dir=place) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        remedy = "choose a folder you may write to"
        yield Finding("error", "folder", f"{place}: {error.strerror}", remedy)
        return
    free = shutil.disk_usage(place).free / GIB
    low = "the environment takes 6.5 GiB, ADE20K about 4, ImageNet-1K 170" if free < 20 else ""
    yield Finding("warning" if low else "ok", "disk", f"{free:.0f} GiB free in {place}", low)
    locks = place / ".snakemake/locks"
    if locks.is_dir() and any(locks.iterdir()):
        remedy = "make reproduce unlocks by itself; else snakemake --unlock, if none runs"
        yield Finding("warning", "Snakemake", f"{locks} is held or was left by a kill", remedy)


def check_services(_: Path) -> Iterator[Finding]:
    """Checks the Ray cluster and the MLflow store that the environment names."""
    from lemore.runtime.ray.cluster import probe
    from lemore.runtime.tracking.pending_run import find_store

    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            probe(address)
        text = f"the cluster at {address} answers" if address else "each run starts its own cluster"
        yield Finding("ok", "Ray", text)
    except ValueError as error:
        yield Finding("error", "Ray", str(error), "ray start --head on it, or unset RAY_ADDRESS")
    uri = find_store()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        yield Finding("ok", "MLflow", f"{uri} will be made by the first run")
        return
    try:
        from lemore.runtime.tracking import mlflow

        mlflow.connect()
        yield Finding("ok", "MLflow", f"{uri} answers")
    except Exception as error:  # whatever a store or its driver raises
        text = f"{uri} does not answer ({' '.join(str(error).split())[:200]})"
        remedy = "runs go on without it; start the server or correct MLFLOW_TRACKING_URI"
        yield Finding("warning", "MLflow", text, remedy)


def check_tools(_: Path) -> Iterator[Finding]:
    """Checks for git, and for the accounts that some datasets require."""
    if shutil.which("git") is None:
        yield Finding("warning", "git", "not found", "install it: results name their commit by it")
    for dataset, names in ACCOUNTS.items():
        lacking = [name for name in names if not os.environ.get(name)]
        text = f"{', '.join(lacking)} not set" if lacking else "account is set"
        remedy = f"needed only to download {dataset}" if lacking else ""
        yield Finding("ok", dataset, text, remedy)
