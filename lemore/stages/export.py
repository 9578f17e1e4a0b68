"""Turns a checkpoint into a file that runs without this project, and compares it with PyTorch."""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from lemore.config.checkpoints import list_files
from lemore.config.formats import SUFFIXES, WRITERS, Format, Kind, Precision, check_packages
from lemore.data.store import Store
from lemore.evaluation import segmentation
from lemore.runtime.checkpoint import hash_tensors
from lemore.runtime.files import write_json
from lemore.stages.export_detector import choose_size, export_detector
from lemore.trained import exported
from lemore.trained.checkpoint import Trained
from lemore.trained.classes import find_classes, fit_classes
from lemore.trained.exported_file import Interface, Labels
from lemore.trained.find import read_trained

log = logging.getLogger(__name__)
ENDS: dict[str, str] = {**SUFFIXES, "torch_export": ".pt2"}
BATCHED = ("onnx", "openvino", "torch_export")
RANDOM_IMAGES = 4
# A float file with a smaller share is wrong. On random images more decisions are narrow.
EQUAL_LABELS = {"given": 0.999, "random": 0.99}


@dataclass(frozen=True)
class ExportOptions:
    """The options of `lemore export`, whose help describes them."""

    checkpoint: str
    format: Kind | Literal["torch_export"]
    output: Path
    size: list[int] | None
    dynamic_batch: bool
    with_normalization: bool
    labels: Labels | None
    half: bool
    int8: bool
    calibration: list[Path] | None
    images: int
    evaluate: str | None
    split: str
    data_dir: Path
    threads: int
    seconds: float
    json: Path | None

    @property
    def precision(self) -> Precision:
        return "int8" if self.int8 else "float16" if self.half else "float32"


def export_model(options: ExportOptions) -> int:
    """Writes the file and prints the comparison; returns 1 if a float file differs too much."""
    check_options(options)
    torch.set_num_threads(options.threads)
    trained = read_trained(options.checkpoint)
    if trained.job.model.task == "detection":
        return export_boxes(options, trained)
    height, width = options.size or trained.job.train.crop_size
    ends = (options.dynamic_batch, options.with_normalization, options.labels)
    interface = Interface((height, width), *ends)
    warn_of_size(interface.size, trained)
    store = None
    if options.evaluate:
        store = Store(options.data_dir / options.evaluate, options.split)
        fit_classes(nn.Identity(), trained, store)  # refuses other classes before the work
    images = choose_images(options, interface.size)
    model, deployed = exported.build_networks(trained, interface)
    classes = find_classes(trained, options.data_dir)
    about = exported.describe_file(trained, classes, interface)
    in_float32 = None
    with tempfile.TemporaryDirectory() as folder:
        source = exported.Source(deployed, interface, images, about, Path(folder))
        kept = exported.write_file(source, options.output, options.precision)
        if options.precision != "float32":
            full = Path(folder, f"full{options.output.suffix}")
            exported.write_file(source, full, "float32")
            in_float32 = exported.open_file(full, options.threads)
    record = describe_export(options, about, images)
    record["float_layers"] = kept
    file = exported.open_file(options.output, options.threads)
    record |= exported.compare_outputs(model, file, interface, images)
    if store is not None:
        test = segmentation.make_plain_test(trained.job.train.img_scale)
        for key, network in (("miou", model), ("miou_file", file)):
            fitted = fit_classes(network, trained, store)
            record[key] = exported.evaluate_resized(fitted, store, test, interface.size)
    files = {"file_ms": file} | ({"float_file_ms": in_float32} if in_float32 else {})
    record |= exported.measure_latency(
        deployed, files, interface.size, options.threads, options.seconds
    )
    print("\n".join(format_record(record)))
    if options.json is not None:
        write_json(options.json, record)
    return check_agreement(options, record)


def check_agreement(options: ExportOptions, record: dict[str, Any]) -> int:
    """Returns the exit code: 1 for a float file whose labels differ too much, which is told."""
    bound = EQUAL_LABELS[record["compared_on"]]
    if options.int8 or record["equal_labels"] >= bound:
        return 0
    log.error(
        "export: %s is not to be trusted: it should give PyTorch's label to %g %% of the pixels",
        *(options.output, 100 * bound),
    )
    return 1


def describe_export(
    options: ExportOptions, about: dict[str, Any], images: list[torch.Tensor]
) -> dict[str, Any]:
    """Describes the file that was written. about: its metadata. images: see `choose_images`."""
    return {name: value for name, value in about.items() if name != "trained"} | {
        "precision": options.precision,
        "file": str(options.output),
        "format": f"{options.format} {options.precision}".removesuffix(" float32"),
        "bytes": sum(part.stat().st_size for part in list_files(options.output)),
        "dynamic_batch": options.dynamic_batch,
        "compared_on": "given" if options.calibration else "random",
        "images_sha256": hash_tensors({str(k): image for k, image in enumerate(images)}),
        "evaluated_on": f"{options.evaluate} {options.split}" if options.evaluate else None,
        "threads": options.threads,
    }


def choose_images(options: ExportOptions, size: tuple[int, int]) -> list[torch.Tensor]:
    """Returns the images, uint8 1 3 H W of `size`, that the file is compared on."""
    if options.calibration:
        return exported.read_images(options.calibration, size, options.images)
    return exported.make_random_images(size, RANDOM_IMAGES)


def export_boxes(options: ExportOptions, trained: Trained) -> int:
    """Writes a detector's file and prints the comparison; returns 1 if it differs too much."""
    refuse_for_detectors(options)
    return export_detector(
        trained,
        find_classes(trained, options.data_dir),
        choose_images(options, choose_size(trained, options.size)),
        options.output,
        raw=options.with_normalization,
        compared_on="given" if options.calibration else "random",
        threads=options.threads,
        seconds=options.seconds,
        json=options.json,
    )


def check_options(options: ExportOptions) -> None:
    """Raises ValueError for options that exclude each other."""
    suffix = ENDS[options.format]
    if options.output.suffix != suffix:
        raise ValueError(f"--output: {options.output} should end in {suffix} for {options.format}")
    for name, precision in (("int8", "int8"), ("half", "fp16")):
        kinds = [kind for kind in SUFFIXES if f"{kind}_{precision}" in get_args(Format)]
        if getattr(options, name) and options.format not in kinds:
            raise ValueError(f"--{name}: only {' and '.join(kinds)} have it, not {options.format}")
    if options.dynamic_batch and options.format not in BATCHED:
        raise ValueError(f"--dynamic-batch: only {' and '.join(BATCHED)} have it")
    if options.int8 and options.half:
        raise ValueError("--int8, --half: give one of them")
    if options.int8 and not options.calibration:
        raise ValueError("--int8: give --calibration images, folders or a prepared dataset")
    if options.evaluate and (options.labels or options.with_normalization):
        raise ValueError("--evaluate: leave out --labels and --with-normalization for it")
    if options.size and min(options.size) < 64:
        height, width = options.size
        raise ValueError(f"--size: {height} x {width}, expected at least 64 x 64")
    if options.format != "torch_export":
        check_packages(options.format, WRITERS[options.format])


def refuse_for_detectors(options: ExportOptions) -> None:
    """Raises ValueError for options that a detector's file does not have."""
    absent = ("half", "int8", "labels", "dynamic_batch", "evaluate")
    if options.format != "onnx":
        raise ValueError("--format: a detector is exported as onnx alone")
    for name in absent:
        if getattr(options, name):
            option = name.replace("_", "-")
            raise ValueError(
                f"--{option}: a detector's file is in float32, takes one image and ends in boxes; "
                "leave it out"
            )


def warn_of_size(size: tuple[int, int], trained: Trained) -> None:
    """Warns of a size (H, W) that the network saw neither in training nor in evaluation."""
    crop, (long, short) = trained.job.train.crop_size, trained.test.img_scale
    fitted = min(long / max(size), short / min(size)) == 1  # fills the box one way
    if size == crop or (trained.test.mode == "whole" and fitted):
        return
    tested = f"images fitted into {long} x {short}" if trained.test.mode == "whole" else "the same"
    log.warning(
        "--size: %d x %d, but the model was trained on %d x %d and is tested on %s; its accuracy "
        "may fall, --evaluate tells",
        *(*size, *crop, tested),
    )


def format_record(record: dict[str, Any]) -> list[str]:
    """Formats the comparison as lines for reading."""
    height, width = record["size"]
    difference = record["largest_difference"]
    off = "" if difference is None else f"logits differ by at most {difference:.2e}, "
    lines = [
        f"{record['file']}: {record['model']} ({record['dataset']}) as {record['format']},"
        f" {height}x{width}, {record['bytes'] / 1e6:.2f} MB",
        f"  against PyTorch on {record['images']} {record['compared_on']} images: {off}"
        f"{100 * record['equal_labels']:.4f} % of the labels are equal",
    ]
    if record["float_layers"]:
        lines.append(f"  layers in float32: {', '.join(record['float_layers'])}")
    if record["evaluated_on"]:
        before, after = 100 * record["miou"], 100 * record["miou_file"]
        lines.append(
            f"  mIoU on {record['evaluated_on']}, all images at that size: {before:.2f} % in"
            f" PyTorch, {after:.2f} % in the file ({after - before:+.2f})"
        )
    lines.append(
        f"  {record['threads']} thread(s): the file {record['file_ms']:.1f} ms an image, "
        + ", ".join(
            f"{name} {record[key]:.1f} ms ({record[key] / record['file_ms']:.2f} times as long)"
            for key, name in (("pytorch_ms", "PyTorch"), ("float_file_ms", "as a float file"))
            if key in record
        )
    )
    return lines
