"""Turn a trained checkpoint into a file that runs without this project, and check that it does.

onnx runs in ONNX Runtime and elsewhere (docs/onnx_example.py needs neither torch nor lemore);
torch_export is a program for torch.export.load. The input is float32 B 3 H W, RGB, normalised as
the file's metadata says, at one fixed H and W; the output is logits B K h w at native stride.
The file is compared with PyTorch on images, by its mIoU too with --evaluate.

Examples:
  lemore export --checkpoint weights.pt --format onnx --output lemore.onnx --size 512 512
  lemore export --checkpoint weights.pt --format onnx --output int8.onnx --int8 \\
    --calibration resources/datasets/camvid --evaluate camvid
"""

import argparse
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lemore import __version__
from lemore.config.read import positive
from lemore.data.loader import MEAN, STD
from lemore.data.store import Store
from lemore.models.fold import bake, fold
from lemore.profiling import export
from lemore.runtime.files import write_json
from lemore.trained import classes as _classes
from lemore.trained import exported as _exported
from lemore.trained import find
from lemore.trained.calibration import random_images, read_images
from lemore.trained.checkpoint import Trained
from lemore.trained.exported import Exported

log = logging.getLogger(__name__)
SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}
RANDOM_IMAGES = 4
EQUAL_LABELS = 0.999  # a file of float32 with fewer is not the network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help=find.HELP)
    parser.add_argument("--format", choices=SUFFIXES, required=True)
    parser.add_argument("--output", type=Path, required=True, help="file to write (.onnx, .pt2)")
    parser.add_argument(
        "--size",
        type=positive,
        nargs=2,
        metavar=("H", "W"),
        help="of the images (default: train crop)",
    )
    parser.add_argument("--dynamic-batch", action="store_true", help="any number of images at once")
    parser.add_argument(
        "--with-normalization", action="store_true", help="the input is RGB 0..255, still float32"
    )
    parser.add_argument(
        "--with-argmax", action="store_true", help="the output is train ids, uint8 B H W"
    )
    parser.add_argument("--int8", action="store_true", help="quantise (onnx; needs --calibration)")
    parser.add_argument(
        "--calibration",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="images, folders of images or one prepared dataset: what INT8 is calibrated on, and"
        " what the file is compared on (default: random images)",
    )
    parser.add_argument("--images", type=positive, default=64, help="how many of them at most")
    parser.add_argument("--evaluate", metavar="DATASET", help="prepared dataset for the mIoU")
    parser.add_argument("--split", default="val", help="of that dataset")
    parser.add_argument(
        "--data-dir", type=Path, default=_classes.DATA_DIR, help="prepared datasets"
    )
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads")
    parser.add_argument("--seconds", type=float, default=3.0, help="longest latency measurement")
    parser.add_argument("--json", type=Path, help="file for what was found")


def run(args: argparse.Namespace) -> int:
    check(args)
    torch.set_num_threads(args.threads)
    source = load_source(args)
    warn_of_size(source.size, source.trained)
    store = Store(args.data_dir / args.evaluate, args.split) if args.evaluate else None
    check_classes(args, source, store)
    images = sample(args, source)
    unquantized = write(args, source, images)
    exported = Exported(
        model=source.model,
        deployed=source.deployed,
        file=_exported.open_file(args.output, args.threads),
        unquantized=unquantized,
        size=source.size,
        raw=args.with_normalization,
        labels=args.with_argmax,
    )
    record = describe(args, source) | _exported.compare(exported, images)
    if store is not None:
        record |= _exported.evaluate(exported, store, source.trained.job.train.img_scale)
    record |= _exported.measure(exported, args.threads, args.seconds)
    print("\n".join(lines(record)))
    if args.json is not None:
        write_json(args.json, record)
    return 0 if args.int8 or record["equal_labels"] >= EQUAL_LABELS else 1


def check(args: argparse.Namespace) -> None:
    """ValueError for what cannot be asked for together."""
    if args.output.suffix != SUFFIXES[args.format]:
        raise ValueError(
            f"--output: {args.output} should end in {SUFFIXES[args.format]} for {args.format}"
        )
    if args.format == "onnx":
        export.require()
    if args.int8 and args.format != "onnx":
        raise ValueError("--int8: only onnx can be quantised; use --format onnx")
    if args.int8 and not args.calibration:
        raise ValueError("--int8: give --calibration images, folders or a prepared dataset")
    if args.evaluate and (args.with_argmax or args.with_normalization):
        raise ValueError("--evaluate: leave out --with-argmax and --with-normalization for it")
    if args.size and min(args.size) < 64:
        raise ValueError(f"--size: {args.size[0]} x {args.size[1]}, expected at least 64 x 64")


@dataclass(frozen=True)
class Source:
    """What a checkpoint holds. model: as it was trained. deployed: what the file is to compute."""

    trained: Trained
    size: tuple[int, int]
    model: nn.Module
    deployed: nn.Module
    classes: tuple[str, ...]


def load_source(args: argparse.Namespace) -> Source:
    """Matrices that belong to a size are carried to that of the file's images on load."""
    trained = find.read(args.checkpoint)
    size = (args.size[0], args.size[1]) if args.size else trained.job.train.crop_size
    model, at_size = (trained.unfolded(made).eval().requires_grad_(False) for made in (None, size))
    deployed = export.Deployed(
        bake(fold(at_size, norms=True)),
        normalization=(MEAN, STD) if args.with_normalization else None,
        resize_to=size if args.with_argmax else None,
        labels=args.with_argmax,
    ).eval()
    return Source(trained, size, model, deployed, _classes.of(trained, args.data_dir).names)


def warn_of_size(size: tuple[int, int], trained: Trained) -> None:
    """Of a size (H, W) that the network saw neither in training nor in evaluation."""
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


def check_classes(args: argparse.Namespace, source: Source, store: Store | None) -> None:
    if store is not None and store.num_classes != source.trained.job.num_classes:
        raise ValueError(
            f"--evaluate: {args.evaluate} has {store.num_classes} classes, {args.checkpoint} "
            f"predicts {source.trained.job.num_classes}"
        )


def sample(args: argparse.Namespace, source: Source) -> list[Tensor]:
    """uint8 1 3 H W."""
    if args.calibration:
        return read_images(args.calibration, source.size, args.images)
    return random_images(source.size, RANDOM_IMAGES)


def write(args: argparse.Namespace, source: Source, images: list[Tensor]) -> nn.Module | None:
    """For INT8 the float file that was quantised, as a network; it is in memory only."""
    feeds = [_exported.feed(image, args.with_normalization) for image in images]
    to_file = export.to_onnx if args.format == "onnx" else export.to_torch_export
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "float.onnx" if args.int8 else args.output
        to_file(
            source.deployed,
            feeds[0],
            plain,
            dynamic_batch=args.dynamic_batch,
            metadata=metadata(args, source),
        )
        if not args.int8:
            return None
        export.quantize(plain, args.output, [one.numpy() for one in feeds])
        return _exported.open_file(plain, args.threads)


def metadata(args: argparse.Namespace, source: Source) -> dict[str, Any]:
    """What a program has to know of the file."""
    return {
        "lemore": __version__,
        "model": source.trained.job.model_name,
        "dataset": source.trained.job.dataset,
        "classes": list(source.classes),
        "size": list(source.size),
        "mean": list(MEAN),
        "std": list(STD),
        "input": "RGB 0..255" if args.with_normalization else "(RGB 0..255 - mean) / std",
        "output": "train ids" if args.with_argmax else "logits at native stride",
    }


def describe(args: argparse.Namespace, source: Source) -> dict[str, Any]:
    return metadata(args, source) | {
        "file": str(args.output),
        "format": args.format + (" int8" if args.int8 else ""),
        "bytes": args.output.stat().st_size,
        "dynamic_batch": args.dynamic_batch,
        "compared_on": "given" if args.calibration else "random",
        "evaluated_on": f"{args.evaluate} {args.split}" if args.evaluate else None,
    }


def lines(record: dict[str, Any]) -> list[str]:
    height, width = record["size"]
    difference = record["largest_difference"]
    off = "" if difference is None else f"logits differ by at most {difference:.2e}, "
    text = [
        f"{record['file']}: {record['model']} ({record['dataset']}) as {record['format']},"
        f" {height}x{width}, {record['bytes'] / 1e6:.2f} MB",
        f"  against PyTorch on {record['images']} {record['compared_on']} images: {off}"
        f"{100 * record['equal_labels']:.4f} % of the labels are equal",
    ]
    if record["evaluated_on"]:
        before, after = 100 * record["miou"], 100 * record["miou_file"]
        text.append(
            f"  mIoU on {record['evaluated_on']}, all images at that size: {before:.2f} % in"
            f" PyTorch, {after:.2f} % in the file ({after - before:+.2f})"
        )
    text.append(
        f"  {record['threads']} thread(s): the file {record['file_ms']:.1f} ms an image, "
        + ", ".join(
            f"{name} {record[key]:.1f} ms ({record[key] / record['file_ms']:.2f} times as long)"
            for key, name in (("pytorch_ms", "PyTorch"), ("float_file_ms", "as a float file"))
            if key in record
        )
    )
    return text
