"""The steps that made the results: settings, command, configuration, commit, MLflow runs."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from lemore.reporting.tables.results import Result, format_size

Settings = dict[str, object]
Links = tuple[tuple[str, str], ...]  # (stage, MLflow run id)


@dataclass(frozen=True)
class Step:
    """A step by which one result was made. `runs` links its MLflow runs, oldest first.

    config: the text of the file that the command's --config names, "" if there is none.
    """

    stage: str
    what: str
    scenes: bool
    settings: tuple[tuple[str, str], ...]
    runs: Links
    command: str
    config: str
    commit: str


def describe_step(result: Result) -> Step:
    describe = {
        "pretrain": _describe_pretraining,
        "finetune": _describe_finetuning,
        "evaluate": _describe_evaluation,
        "profile": _describe_profile,
        "deploy": _describe_deployment,
    }
    what, settings, links = describe[result["stage"]](result)
    own = (result["stage"], result["mlflow_run_id"])
    return Step(
        stage=result["stage"],
        what=what,
        scenes=result.get("scenes", result.get("dataset", "").endswith("_scenes")),
        settings=tuple((name, str(value)) for name, value in settings.items()),
        # one known by its weights only ("weights:...") has no page
        runs=tuple((name, run) for name, run in (*links, own) if run and ":" not in run),
        command=result["command"],
        config=_read_config(result["command"]),
        commit=result.get("git", result["code"]),
    )


def _read_config(command: str) -> str:
    words = shlex.split(command)
    if "--config" not in words[:-1]:
        return ""
    path = Path(words[words.index("--config") + 1])
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _describe_pretraining(result: Result) -> tuple[str, Settings, Links]:
    settings = {
        "input size": format_size(result["input_size"]),
        "iterations": result["iterations"],
        "weights (SHA-256)": result["weights_sha256"],
    }
    return f"{result['backbone']} on {result['dataset']}", settings, ()


def _describe_finetuning(result: Result) -> tuple[str, Settings, Links]:
    settings = {name: result[name] for name in ("iterations", "seconds", "device", "torch")}
    settings["weights (SHA-256)"] = result["weights_sha256"]
    settings |= {name: result[name]["text"] for name in ("start", "chosen") if name in result}
    what = f"{result['model']} on {result['dataset']}, seed {result['seed']}"
    return what, settings, tuple(result["parents"].items())


def _describe_evaluation(result: Result) -> tuple[str, Settings, Links]:
    what = f"{_write_label(result)} on {result['dataset']} {result['split']}, seed {result['seed']}"
    name, key = ("AP", "ap") if "ap" in result else ("mIoU", "miou")
    settings = {
        name: f"{100 * result[key]:.2f} %",
        "images": result["images"],
        "classes": result["num_classes"],
        "train crop": format_size(result["train_crop"]),
        "iterations": result["iterations"],
        "recipe": result["recipe"],
        "test mode": result["test_mode"],
        "device": result["device"],
    }
    if result.get("mean_boundary_iou") is not None:
        settings["mean Boundary IoU"] = f"{100 * result['mean_boundary_iou']:.2f} %"
    links = (("pretrain", result["pretrain_run_id"]), ("finetune", result["finetune_run_id"]))
    return what, settings, links


def _describe_profile(result: Result) -> tuple[str, Settings, Links]:
    cells = [f"{cell['dataset']} {format_size(cell['size'])}" for cell in result["cells"]]
    protocols = dict.fromkeys(c["latency"]["protocol"] for c in result["cells"] if c["latency"])
    settings = {"cells": ", ".join(cells), "device": result["device"], "torch": result["torch"]}
    if protocols:
        settings["latency protocol"] = "; ".join(protocols)
    return _write_label(result), settings, ()


def _describe_deployment(result: Result) -> tuple[str, Settings, Links]:
    what = f"{_write_label(result)} on {result['dataset']} {result['split']}, seed {result['seed']}"
    calibration = result["calibration"]
    settings: Settings = {
        "formats": ", ".join(row["format"] for row in result["formats"]),
        "left out": "; ".join(f"{f} {why}" for f, why in result["left_out"].items()) or "none",
        "images compared": result["images"],
        "images of INT8's calibration": calibration["images"],
        "calibration images (SHA-256)": calibration["sha256"],
        "device": result["device"],
        "latency protocol": result["protocol"],
        "weights (SHA-256)": result["weights_sha256"],
    }
    links = (("pretrain", result["pretrain_run_id"]), ("finetune", result["finetune_run_id"]))
    return what, settings, links


def _write_label(result: Result) -> str:
    """Returns printed name and key, as several models share a name: LeMoRe (lemore)."""
    return f"{result['label']} ({result['model']})"
