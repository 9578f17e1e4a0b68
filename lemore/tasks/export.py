"""Turn a trained checkpoint into a file that runs without this project, and check that it does.

onnx runs in ONNX Runtime and elsewhere (docs/onnx_example.py needs neither torch nor lemore);
torch_export is a program for torch.export.load. The input is float32 B 3 H W, RGB, normalised as
the file's metadata says, at one fixed H and W; the output is logits B K h w at native stride.
The file is compared with PyTorch on images, by mIoU too with --evaluate.

Examples:
  lemore export --checkpoint weights.pt --format onnx --output lemore.onnx --size 512 512
  lemore export --checkpoint weights.pt --format onnx --output int8.onnx --int8 \\
    --calibration resources/datasets/camvid --evaluate camvid
"""

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from lemore import __version__
from lemore.config import build, load
from lemore.data import images, labels
from lemore.data.loader import MEAN, STD, normalize
from lemore.data.schema import DatasetConfig
from lemore.data.store import Store
from lemore.evaluation.inference import resize
from lemore.files import write_json
from lemore.models.fold import fold
from lemore.profiling import backends, export, latency
from lemore.tasks import _segmentation
from lemore.tasks._finetune import make_model
from lemore.training import checkpoint
from lemore.training.recipe import Test, Train

log = logging.getLogger(__name__)
CONFIG = Path(__file__).parents[2] / "config"
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
RANDOM_IMAGES = 4
EQUAL_LABELS = 0.999  # below this share a float32 file is not the network
LATENCY_SECONDS = 3.0
Size = tuple[int, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="weights.pt of a fine-tuning"
    )
    parser.add_argument("--format", choices=("onnx", "torch_export"), required=True)
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--size", type=int, nargs=2, metavar=("H", "W"), help="of the images (default: train crop)"
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
        help="images, folders of images or one prepared dataset: what INT8 is calibrated on and"
        " the file compared on (default: random images)",
    )
    parser.add_argument("--images", type=int, default=64, help="how many of them at most")
    parser.add_argument("--evaluate", metavar="DATASET", help="prepared dataset for the mIoU")
    parser.add_argument("--split", default="val", help="of that dataset")
    parser.add_argument(
        "--data-dir", type=Path, default=Path("resources/datasets"), help="prepared datasets"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", type=Path, help="file for the comparison")


def run(args: argparse.Namespace) -> int:
    check(args)
    torch.set_num_threads(args.threads)
    network = load_network(args)
    sample = list(read_images(args, network.size))
    write(args, network, sample)
    record = describe(args, network)
    record |= compare(args, network, sample)
    if args.evaluate:
        record |= evaluate(args, network)
    record |= measure(args, network)
    print("\n".join(lines(record)))
    if args.json is not None:
        write_json(args.json, record)
    return 0 if args.int8 or record["equal_labels"] >= EQUAL_LABELS else 1


def check(args: argparse.Namespace) -> None:
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
class Network:
    """What a checkpoint holds. model: as it was trained. deployed: what the file is to compute."""

    config: dict[str, Any]
    recipe: Train
    size: Size
    model: nn.Module
    deployed: export.Deployed
    classes: list[str]


def load_network(args: argparse.Namespace) -> Network:
    """Matrices that belong to a size are carried to that of the file's images on load."""
    content = checkpoint.load(args.checkpoint)
    source = str(args.checkpoint)
    if "config" not in content or "train" not in content["config"]:
        raise ValueError(f"{source}: holds no segmentation model of `lemore finetune`")
    recipe = build(Train, content["config"]["train"], source, "train.")
    size = (args.size[0], args.size[1]) if args.size else recipe.crop_size
    model = make_model(content["config"], recipe)
    at_size = make_model(content["config"], replace(recipe, crop_size=size))
    for made in (model, at_size):
        made.load_state_dict(content["state_dict"])
        made.eval().requires_grad_(False)
    deployed = export.Deployed(
        fold(at_size, norms=True),
        normalization=(MEAN, STD) if args.with_normalization else None,
        resize_to=size if args.with_argmax else None,
        labels=args.with_argmax,
    ).eval()
    classes = class_names(content["config"])
    return Network(content["config"], recipe, size, model, deployed, classes)


def class_names(config: dict[str, Any]) -> list[str]:
    """By train id, from the dataset's label table; numbers if there is no such dataset here."""
    path = CONFIG / "datasets" / f"{config['dataset']}.yaml"
    if not path.exists():
        log.warning("%s: no such file, so the classes have numbers, not names", path)
        return [str(k) for k in range(config["num_classes"])]
    return list(labels.of(load(DatasetConfig, path)).names)


def read_images(args: argparse.Namespace, size: Size) -> Iterator[Tensor]:
    """uint8 1 3 H W of `size`: those of --calibration, else random ones."""
    if not args.calibration:
        generator = torch.Generator().manual_seed(0)
        for _ in range(RANDOM_IMAGES):
            yield torch.randint(0, 256, (1, 3, *size), generator=generator, dtype=torch.uint8)
        return
    for image in spread(args.calibration, args.images):
        resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        yield torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))[None]


def spread(paths: list[Path], count: int) -> Iterator[np.ndarray]:
    """At most `count` images (H, W, 3) uint8 RGB, evenly spread over what `paths` hold."""
    if len(paths) == 1 and (paths[0] / "digest.json").exists():
        store = Store(paths[0], "train")
        yield from (store.image(int(i)) for i in every(len(store), count))
        return
    files = [file for path in paths for file in image_files(path)]
    for index in every(len(files), count):
        try:
            yield images.decode_rgb(files[index].read_bytes())
        except ValueError as error:
            raise ValueError(f"{files[index]}: {error}") from None


def image_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise ValueError(f"--calibration: {path} holds no image and is no prepared dataset")
    return found


def every(total: int, count: int) -> list[int]:
    return np.linspace(0, total - 1, min(total, count)).round().astype(int).tolist()


def write(args: argparse.Namespace, network: Network, sample: list[Tensor]) -> None:
    """The file, with what a program needs to know of it as metadata."""
    feeds = [feed(args, image) for image in sample]
    to_file = export.to_torch_export if args.format == "torch_export" else export.to_onnx
    kind = {"dynamic_batch": args.dynamic_batch, "metadata": metadata(args, network)}
    to_file(network.deployed, feeds[0], args.output, **kind)
    if args.int8:
        export.quantize(args.output, args.output, [one.numpy() for one in feeds])


def feed(args: argparse.Namespace, image: Tensor) -> Tensor:
    """What the file takes of an image uint8 1 3 H W."""
    return image.float() if args.with_normalization else normalize(image, None)


def metadata(args: argparse.Namespace, network: Network) -> dict[str, Any]:
    return {
        "lemore": __version__,
        "model": network.config["model_name"],
        "dataset": network.config["dataset"],
        "classes": network.classes,
        "size": list(network.size),
        "mean": list(MEAN),
        "std": list(STD),
        "input": "RGB 0..255" if args.with_normalization else "(RGB 0..255 - mean) / std",
        "output": "train ids" if args.with_argmax else "logits at native stride",
    }


def load_file(args: argparse.Namespace) -> nn.Module:
    if args.format == "onnx":
        return export.OnnxNetwork(args.output, args.threads)
    return torch.export.load(args.output).module()


@torch.inference_mode()
def compare(args: argparse.Namespace, network: Network, sample: list[Tensor]) -> dict[str, Any]:
    """Largest difference of the logits (None if the file has none) and share of equal labels."""
    file, differences, equal = load_file(args), [], []
    for image in sample:
        expected, found = network.model(normalize(image, None)), file(feed(args, image))
        if not args.with_argmax:
            differences.append((found - expected).abs().max().item())
            found = resize(found, network.size).argmax(1)
        wanted = resize(expected, network.size).argmax(1)
        equal.append((found == wanted).float().mean().item())
    return {
        "compared_on": f"{len(sample)} {'given' if args.calibration else 'random'} images",
        "largest_difference": max(differences) if differences else None,
        "equal_labels": float(np.mean(equal)),
    }


def evaluate(args: argparse.Namespace, network: Network) -> dict[str, Any]:
    """mIoU of PyTorch and of the file, all images resized to the file's size."""
    test = replace(_segmentation.whole(network.recipe.img_scale), split=args.split, mode="square")
    store = Store(args.data_dir / args.evaluate, test.split)
    if store.num_classes != len(network.classes):
        raise ValueError(
            f"--evaluate: {args.evaluate} has {store.num_classes} classes, the checkpoint predicts"
            f" {len(network.classes)}"
        )
    cpu = torch.device("cpu")
    miou = {
        name: _segmentation.evaluate(one, store, cpu, test, (), network.size).results["miou"]
        for name, one in (("miou", network.model), ("miou_file", load_file(args)))
    }
    return miou | {"evaluated_on": f"{args.evaluate} {test.split}, {len(store)} images"}


@torch.inference_mode()
def measure(args: argparse.Namespace, network: Network) -> dict[str, Any]:
    """p50 in milliseconds for one image, PyTorch (eager) and the file in turn."""
    image = torch.randn(1, 3, *network.size)
    file = load_file(args)
    runs = {
        "pytorch_ms": backends.prepare("eager", network.deployed, image, False, args.threads),
        "file_ms": lambda: file(image),
    }
    times = {name: latency.repeat(run, LATENCY_SECONDS).p50 * 1e3 for name, run in runs.items()}
    return times | {"threads": args.threads}


def describe(args: argparse.Namespace, network: Network) -> dict[str, Any]:
    return {
        "file": str(args.output),
        "format": args.format + (" int8" if args.int8 else ""),
        "bytes": args.output.stat().st_size,
        "dynamic_batch": args.dynamic_batch,
    } | metadata(args, network)


def lines(record: dict[str, Any]) -> list[str]:
    height, width = record["size"]
    difference = record["largest_difference"]
    off = "" if difference is None else f"logits differ by at most {difference:.2e}, "
    text = [
        f"{record['file']}: {record['model']} ({record['dataset']}) as {record['format']},"
        f" {height}x{width}, {record['bytes'] / 1e6:.2f} MB",
        f"  against PyTorch on {record['compared_on']}: {off}"
        f"{100 * record['equal_labels']:.4f} % of the labels are equal",
    ]
    if "miou" in record:
        before, after = 100 * record["miou"], 100 * record["miou_file"]
        change = f"{before:.2f} % mIoU in PyTorch, {after:.2f} % in the file ({after - before:+.2f})"
        text.append(f"  {record['evaluated_on']}: {change}")
    ratio = record["pytorch_ms"] / record["file_ms"]
    text.append(
        f"  {record['threads']} thread(s): PyTorch {record['pytorch_ms']:.1f} ms, file"
        f" {record['file_ms']:.1f} ms an image ({ratio:.2f} times as fast)"
    )
    return text
