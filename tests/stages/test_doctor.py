"""The doctor names each fault and its remedy, and returns 0 where there is none."""

import json
import os
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch

from lemore.cli import main
from lemore.stages.planning import doctor


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


def findings(capsys, *options: str) -> tuple[int, dict[str, dict]]:
    code = main(["doctor", "--json", *options])
    return code, {found["about"]: found for found in json.loads(capsys.readouterr().out)}


KERNELS = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """Makes torch and the driver describe one GPU, which computes on the CPU."""

    def make(capability, driver: str, works: bool = True, sees: bool = True) -> None:
        def conv2d(image, weight):
            if not works:
                raise RuntimeError("CUDA error: no kernel image is available")
            return image * weight

        path = tmp_path / "version"
        path.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Mon Jan 1\n")
        ones = torch.ones
        monkeypatch.setattr(doctor, "DRIVER", path)
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: sees)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "Made Up 1")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: KERNELS)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (2**30, 2**31))
        monkeypatch.setattr(torch, "ones", lambda *size, device: ones(*size))
        monkeypatch.setattr(torch.nn.functional, "conv2d", conv2d)

    return make


@pytest.mark.parametrize(
    ("capability", "driver", "options", "level", "words"),
    [
        ((8, 0), "580.65.06", {}, "ok", "sm_80, driver 580.65.06, 1.0 of 2.0 GiB free; kernels"),
        ((8, 9), "580.65.06", {}, "ok", "sm_75 sm_80"),  # by the kernels of sm_86
        ((12, 1), "590.1", {}, "ok", "sm_121"),
        ((7, 0), "580.65.06", {}, "error", "kernels for sm_75, sm_80, sm_86"),
        ((7, 2), "580.65.06", {}, "error", "kernels for sm_75"),
        ((8, 0), "535.183.01", {}, "error", "535.183.01 is too old for torch's CUDA 13.0"),
        ((8, 0), "580.65.06", {"works": False}, "error", "no kernel image is available"),
        ((8, 0), "580.65.06", {"sees": False}, "warning", "torch sees no GPU"),
    ],
)
def test_a_gpu_computes_or_the_reason_is_told(gpu, capability, driver, options, level, words):
    gpu(capability, driver, **options)
    (found,) = doctor.check_gpus()
    assert found.level == level and words in found.text
    assert bool(found.remedy) == (level != "ok")


@pytest.mark.parametrize(
    ("kernel", "runs_on"),
    [
        ("sm_80", [(8, 0), (8, 6), (8, 9)]),
        ("sm_90a", [(9, 0)]),
        ("compute_80", [(8, 0), (8, 6), (8, 9), (9, 0), (12, 0)]),
        ("sm_120", [(12, 0)]),
    ],
)
def test_where_kernels_run(kernel, runs_on):
    every = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (12, 0)]
    assert [pair for pair in every if doctor.has_kernels(kernel, *pair)] == runs_on


@pytest.mark.parametrize(("size", "level"), [(2**30, "error"), (2**33, "ok")])
def test_shared_memory_is_what_the_recipe_fills(monkeypatch, tmp_path, size, level):
    """ImageNet: 16 processes with 2 batches of 1024 images of 224x224 and their labels."""
    monkeypatch.setattr(doctor, "SHARED", tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(total=size))
    (found,) = doctor.check_recipes([doctor.LOCK.parent / "config/paper.yaml"])
    assert found.about == "/dev/shm" and found.level == level
    gib = 16 * 2 * 1024 * (3 * 224 * 224 + 8) / 2**30
    assert f"pretrain lemore fill {gib:.1f} (16 processes, 2 batches of 154 MB each" in found.text
    assert ("--shm-size=6g" in found.remedy) == (level == "error")


def test_what_compiles_needs_a_compiler(monkeypatch, tmp_path):
    (tmp_path / "compiled.yaml").write_text("recipe_changes: {pretrain: {compile: true}}\n")
    files = [doctor.LOCK.parent / "config/paper.yaml", tmp_path / "compiled.yaml"]
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    levels = []
    for folder in (tmp_path, tmp_path / "bin"):
        folder.mkdir(exist_ok=True)
        monkeypatch.setenv("PATH", str(folder))
        found = [f for f in doctor.check_recipes(files) if f.about == "compiler"]
        levels += [(f.level, "needs a C compiler on a GPU" in f.text) for f in found]
        compiler = tmp_path / "bin/gcc"
        compiler.parent.mkdir(exist_ok=True)
        compiler.write_text("")
        os.chmod(compiler, 0o755)
    assert levels == [("error", True), ("ok", False)]


def test_a_sound_machine(capsys, tmp_path):
    code, found = findings(capsys, "--folder", str(tmp_path))
    assert code == 0 and found["packages"]["level"] == found["torch"]["level"] == "ok"
    assert metadata.version("torch") in found["torch"]["text"]


def test_a_folder_that_cannot_be_written(capsys):
    code, found = findings(capsys, "--folder", "/proc")
    assert code == 1 and found["folder"]["level"] == "error" and "/proc" in found["folder"]["text"]


def test_a_cluster_that_does_not_answer(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    code, found = findings(capsys, "--folder", str(tmp_path))
    assert code == 1 and "127.0.0.1:1" in found["Ray"]["text"] and found["Ray"]["remedy"]


def test_a_lock_left_by_a_kill(capsys, tmp_path):
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.output.lock").touch()
    code, found = findings(capsys, "--folder", str(tmp_path))
    assert code == 0 and found["Snakemake"]["level"] == "warning"
    assert "--unlock" in found["Snakemake"]["remedy"]


def test_a_missing_package_ends_the_examination(capsys, monkeypatch, tmp_path):
    def version(name: str) -> str:
        if name == "torchvision":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    code, found = findings(capsys, "--folder", str(tmp_path))
    assert code == 1 and set(found) == {"packages"}
    assert "torchvision" in found["packages"]["text"]
    assert found["packages"]["remedy"] == "make setup"
