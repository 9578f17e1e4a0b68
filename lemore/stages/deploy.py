"""Writes a trained model in the formats in which it runs elsewhere, and measures them in turn."""

import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lemore.config.checkpoints import list_files
from lemore.config.code import list_loaded
from lemore.config.formats import SUFFIXES, Format, Kind, Precision, explain_absences, split_format
from lemore.config.jobs import DeployJob, read_job
from lemore.config.read import plain
from lemore.data.normalize import normalize
from lemore.data.store import Store
from lemore.evaluation.upsample import resize
from lemore.profiling import backends, latency
from lemore.profiling.runtimes import find_runtime
from lemore.runtime.checkpoint import hash_tensors
from lemore.runtime.files import hash_file, key_of, read_json, write_json
from lemore.runtime.process import leave_with_owner, read_processor_name
from lemore.runtime.progress import show_progress
from lemore.runtime.provenance import find_commit, list_versions, quote_command
from lemore.runtime.tracking.pending_run import RunDescription, name_parent
from lemore.runtime.tracking.tracked_run import track
from lemore.trained import exported
from lemore.trained.checkpoint import Trained
from lemore.trained.classes import find_classes, fit_classes
from lemore.trained.exported_file import Exported, ExportedNetwork, Interface, make_square
from lemore.trained.find import read_model, read_trained

log = logging.getLogger(__name__)
PYTORCH = "pytorch"  # the row of the network itself
# the least share of labels that are PyTorch's, else something is wrong with the file
BOUNDS: dict[Precision, float] = {"float32": 0.9999, "float16": 0.999}
INT8_LOSS = 0.01  # of mIoU, which an INT8 file should not lose


@dataclass(frozen=True)
class DeployOptions:
    """Options of the command. config: the job's YAML. data: the prepared dataset's folder. output:
    folder of the files. json: file of the results."""

    config: Path
    checkpoint: str
    data: Path
    output: Path
    json: Path


def deploy(options: DeployOptions) -> dict[str, Any]:
    """Writes a file of each format and the results (JSON, last), and returns the results.

    A format whose packages are missing is left out, and the results say why. ValueError for classes
    or splits that do not fit the data.
    """
    leave_with_owner()
    job = read_job(DeployJob, options.config)
    torch.set_num_threads(job.threads)
    trained, store = read_trained(options.checkpoint), Store(options.data, job.test.split)
    fit_classes(nn.Identity(), trained, store)  # refuses other classes before the work
    left_out = explain_absences(job.formats)
    for format, reason in left_out.items():
        log.warning("deploy: %s is left out: %s", format, reason)
    images = exported.read_images([options.data], job.size, job.calibration_images)
    interface = Interface(job.size, dynamic_batch=False, raw=False, labels=None)
    network, deployed = exported.build_networks(trained, interface)
    formats: list[Format] = [one for one in job.formats if one not in left_out]
    paths, kept = write_files(options, trained, deployed, interface, formats, images)
    files = {format: read_model(path) for format, path in paths.items()}
    # Measured before the tracking thread starts: its import of MLflow would share the cores.
    rows = measure_formats(job, trained, store, network, deployed, files)
    for format, path in paths.items():
        parts = list_files(path)
        rows[format] |= {"file": path.name, "bytes": sum(part.stat().st_size for part in parts)}
        rows[format] |= {"sha256": {part.name: hash_file(part) for part in parts}}
        rows[format] |= {"float_layers": kept[format]}
    with track(_describe_run(job, trained, store)) as run:
        record = describe(job, trained, store) | {
            "protocol": describe_protocol(job, formats),
            "calibration": {
                "images": len(images),
                "sha256": hash_tensors({str(k): image for k, image in enumerate(images)}),
            },
            "formats": list(rows.values()),
            "left_out": left_out,
        }
        run.record_metrics(list_metrics(record))
        record |= {"modules": list_loaded("deploy", sys.modules), "mlflow_run_id": run.run_id}
        write_json(options.json, record)
        run.add_artifact(options.json)
    return record


def write_files(
    options: DeployOptions,
    trained: Trained,
    deployed: nn.Module,
    interface: Interface,
    formats: Sequence[Format],
    images: list[Tensor],
) -> tuple[dict[Format, Path], dict[Format, list[str]]]:
    """Writes a file of each format into the output's folder. images: for INT8, uint8.

    Returns the files, and the names of the layers that stay in float32 in each of INT8.
    """
    about = exported.describe_file(trained, find_classes(trained, options.data.parent), interface)
    paths: dict[Format, Path] = {}
    kept: dict[Format, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = exported.Source(deployed, interface, images, about, Path(folder))
        for format in formats:
            options.output.mkdir(parents=True, exist_ok=True)
            kind, precision = split_format(format)
            paths[format] = options.output / f"{format}{SUFFIXES[kind]}"
            kept[format] = exported.write_file(source, paths[format], precision)
            if kept[format]:
                log.info("deploy: in %s these stay float32: %s", format, ", ".join(kept[format]))
    return paths, kept


@torch.inference_mode()
def measure_formats(
    job: DeployJob,
    trained: Trained,
    store: Store,
    network: nn.Module,
    deployed: nn.Module,
    files: Mapping[str, Trained],
) -> dict[str, dict[str, Any]]:
    """Measures the latency, memory, mIoU and labels of PyTorch and of each file, in this process.

    network: as it was trained. deployed: what the files compute, which PyTorch is timed with.
    """
    networks = {format: file.network() for format, file in files.items()}
    image = torch.randn(1, 3, *job.size, generator=torch.Generator().manual_seed(0))
    runs = {PYTORCH: backends.prepare("eager", deployed, image, (False,), job.threads)[False]}
    for format, file in networks.items():
        assert isinstance(file, ExportedNetwork)
        file.open()
        runs[format] = partial(file, image)
    latencies = latency.measure_in_turn(runs, job.latency_seconds)
    equal = compare_labels(network, networks, read_inputs(store, job.size), job.size)
    test, rows = make_square(job.test), {}
    for format, one in {PYTORCH: network, **networks}.items():
        fitted = fit_classes(one, trained, store)
        rows[format] = {
            "format": format,
            "bytes": sum(t.numel() * t.element_size() for t in deployed.state_dict().values()),
            "precision": "float32",
            "miou": exported.evaluate_resized(fitted, store, test, job.size),
            "latency": latencies[format],
        }
    for format, file in files.items():
        assert isinstance(file, Exported)
        bound = BOUNDS.get(file.precision)
        rows[format] |= {"precision": file.precision, "agreement": equal[format], "bound": bound}
        if bound and equal[format] < bound:
            log.warning(
                "deploy: %s gives PyTorch's label to %.4f %% of the pixels, expected %.2f",
                *(format, 100 * equal[format], 100 * bound),
            )
        warn_of_loss(format, file.precision, rows[PYTORCH]["miou"] - rows[format]["miou"])
    return rows


def warn_of_loss(format: str, precision: Precision, lost: float) -> None:
    """Warns of an INT8 file whose mIoU is too much lower than PyTorch's, by `lost` (0..1)."""
    if precision == "int8" and lost > INT8_LOSS:
        log.warning(
            "deploy: %s loses %.2f points of mIoU; calibrate on more images, or train the model on "
            "with fake_quantize: int8 (docs/training.md, Train for INT8)",
            *(format, 100 * lost),
        )


def read_inputs(store: Store, size: tuple[int, int]) -> Iterator[Tensor]:
    """Reads the images of a split, normalised, 1 3 H W of `size`."""
    for index in show_progress(range(len(store)), "compare labels", unit="image"):
        yield normalize(exported.resize_image(store.read_image(index), size), None)


@torch.inference_mode()
def compare_labels(
    network: nn.Module,
    files: Mapping[str, nn.Module],
    inputs: Iterator[Tensor],
    size: tuple[int, int],
) -> dict[str, float]:
    """Returns the share of pixels to which each file gives the label that the network gives."""
    equal: dict[str, list[float]] = {format: [] for format in files}
    for x in inputs:
        expected = resize(network(x), size).argmax(1)
        for format, file in files.items():
            found = resize(file(x), size).argmax(1)
            equal[format].append((found == expected).float().mean().item())
    return {format: sum(shares) / len(shares) for format, shares in equal.items()}


def describe(job: DeployJob, trained: Trained, store: Store) -> dict[str, Any]:
    record = trained.record
    return {
        "stage": "deploy",
        **{name: getattr(job, name) for name in ("run", "dataset", "stands_for", "scenes")},
        "model": job.model_name,
        "label": trained.job.model.label,
        "encoder": trained.job.model.encoder,
        "seed": record.seed,
        "split": store.split,
        "images": len(store),
        "size": list(job.size),
        "threads": job.threads,
        "device": read_processor_name(),
        "finetune_run_id": record.mlflow_run_id,
        "pretrain_run_id": record.pretrain_run_id,
        "weights_sha256": record.weights_sha256,
        "data_sha256": read_json(store.folder / "digest.json")["sha256"],
        "command": quote_command(),
        "code": find_commit(),
        "versions": list_versions(),
    }


def describe_protocol(job: DeployJob, formats: Sequence[Format]) -> str:
    """Describes the measurement of the latencies. formats: those beside PyTorch."""
    height, width = job.size
    kinds: dict[Kind, None] = {split_format(format)[0]: None for format in formats}
    runtimes = "".join(f"{find_runtime(kind).describe()}; " for kind in kinds)
    return (
        f"one image {height}x{width} (HxW), float32 in and logits at native stride out, CPU, "
        f"{job.threads} thread{'s' * (job.threads > 1)}; PyTorch {torch.__version__} eager, "
        f"channels_last, inference_mode; {runtimes}"
        f"rounds of one run of each in turn, for {job.latency_seconds:g} s of each; first run and "
        "warm-up rounds left out, then the median and 95th percentile; the first run of each gives "
        "its peak memory"
    )


def _describe_run(job: DeployJob, trained: Trained, store: Store) -> RunDescription:
    record, digest = trained.record, read_json(store.folder / "digest.json")["sha256"]
    return RunDescription(
        experiment=f"{job.run}/{job.dataset}",
        name=f"deploy {job.model_name} on {job.dataset}",
        identity={
            "stage": "deploy",
            "run": job.run,
            "dataset": job.dataset,
            "model": job.model_name,
            "seed": str(record.seed),
        },
        key=key_of(job, record.weights_sha256, digest, read_processor_name()),
        params=plain(job),
        parents={"pretrain": record.pretrain_run_id, "finetune": name_parent(vars(record))},
        datasets=((job.dataset, digest, store.split),),
        code=find_commit(),
        measures=True,
        model=record.weights_sha256,
    )


def list_metrics(record: dict[str, Any]) -> dict[str, float]:
    """Lists the figures of each format by their names in MLflow."""
    found: dict[str, float | None] = {}
    for row in record["formats"]:
        one = row["latency"]
        values = {"bytes": row["bytes"], "mIoU": row["miou"], "agreement": row.get("agreement")}
        values |= {"latency_ms_p50": one["p50_ms"], "latency_ms_p95": one["p95_ms"]}
        values |= {"peak_memory_mb": one["peak_memory_mb"]}
        found |= {f"{row['format']}/{name}": value for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not None}
