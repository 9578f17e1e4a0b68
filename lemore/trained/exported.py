"""A trained model as a file for other programs, written and compared with the network itself."""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from lemore import __version__
from lemore.config.read import plain
from lemore.config.recipe import Test
from lemore.config.size import Size
from lemore.data.archives.images import SUFFIXES
from lemore.data.normalize import MEAN, STD, normalize
from lemore.data.store import Store
from lemore.evaluation import segmentation
from lemore.evaluation.upsample import resize
from lemore.models.fold import bake, fold
from lemore.profiling import backends, export, latency
from lemore.runtime.files import is_junk
from lemore.trained.checkpoint import Classes, Trained
from lemore.trained.folder import describe
from lemore.trained.model import load_rgb
from lemore.trained.onnx_file import NORMALIZED, OUTPUTS, RAW, Interface, Precision


def build_networks(trained: Trained, interface: Interface) -> tuple[nn.Module, nn.Module]:
    """Builds the network as it was trained, and the one that the file is to compute.

    The second one's mixing matrices are resampled to the size of the file's images.
    """
    model, at_size = (
        trained.unfolded(size).eval().requires_grad_(False) for size in (None, interface.size)
    )
    deployed = export.Deployed(
        bake(fold(at_size, norms=True)),
        normalization=(MEAN, STD) if interface.raw else None,
        resize_to=interface.size if interface.labels == "image" else None,
        labels=interface.labels is not None,
    )
    return model, deployed.eval()


def describe_file(
    trained: Trained, classes: Classes, interface: Interface, precision: Precision
) -> dict[str, Any]:
    """Returns the file's metadata, which a program needs to use it; `trained` is for lemore."""
    return {
        "lemore": __version__,
        "model": trained.job.model_name,
        "dataset": trained.job.dataset,
        "weights_sha256": trained.record.weights_sha256,
        "classes": list(classes.names),
        "colors": [list(color) for color in classes.colors],
        "size": list(interface.size),
        "mean": list(MEAN),
        "std": list(STD),
        "input": RAW if interface.raw else NORMALIZED,
        "output": OUTPUTS[interface.labels],
        "precision": precision,
        "trained": plain(describe(trained, classes)),
    }


def write_file(
    path: Path,
    deployed: nn.Module,
    interface: Interface,
    images: list[Tensor],
    metadata: dict[str, Any],
    precision: Precision,
    threads: int,
) -> nn.Module | None:
    """Writes .onnx (INT8: calibrated on `images`, uint8 1 3 H W) or .pt2, by the path's suffix.

    Returns the float32 file that another one was made from, as a network in memory, else None.
    """
    inputs = [make_input(image, interface.raw) for image in images]
    write = export.write_onnx if path.suffix == ".onnx" else export.write_torch_export
    with tempfile.TemporaryDirectory() as folder:
        full = path if precision == "float32" else Path(folder) / "float.onnx"
        write(deployed, inputs[0], full, dynamic_batch=interface.dynamic_batch, metadata=metadata)
        if precision == "float32":
            return None
        if precision == "float16":
            export.halve(full, path)
        else:
            export.quantize(full, path, [one.numpy() for one in inputs])
        return open_file(full, threads)


def open_file(path: Path, threads: int) -> nn.Module:
    if path.suffix == ".onnx":
        return export.OnnxNetwork(path, threads)
    return export.ProgramNetwork(path)


def make_input(image: Tensor, raw: bool) -> Tensor:
    """Makes the input of a file from an image uint8 1 3 H W."""
    return image.float() if raw else normalize(image, None)


@torch.inference_mode()
def compare_outputs(
    model: nn.Module, file: nn.Module, interface: Interface, images: list[Tensor]
) -> dict[str, Any]:
    """Largest difference of the logits (None if the file has none) and share of equal labels."""
    differences, equal = [], []
    for image in images:
        expected = model(normalize(image, None))
        found = file(make_input(image, interface.raw))
        if interface.labels is None:
            differences.append((found - expected).abs().max().item())
            found = resize(found, interface.size).argmax(1)
        if interface.labels != "native":
            expected = resize(expected, interface.size)
        equal.append((found == expected.argmax(1)).float().mean().item())
    return {
        "images": len(images),
        "largest_difference": max(differences, default=None),
        "equal_labels": float(np.mean(equal)),
    }


def evaluate_resized(network: nn.Module, store: Store, test: Test, size: Size) -> float:
    """mIoU on all images of `store`, resized to the (H, W) of an exported file."""
    test = replace(test, split=store.split, mode="square")
    results = segmentation.evaluate(network, store, torch.device("cpu"), test, (), size).results
    return results["miou"]


@torch.inference_mode()
def measure_latency(
    deployed: nn.Module, files: dict[str, nn.Module], size: Size, threads: int, seconds: float
) -> dict[str, float]:
    """p50 in milliseconds of one image: `pytorch_ms` (eager), and each of `files` by its name."""
    image = torch.randn(1, 3, *size)
    eager = backends.prepare("eager", deployed, image, (False,), threads)[False]
    runs = {"pytorch_ms": eager} | {name: partial(file, image) for name, file in files.items()}
    times = latency.repeat(list(runs.values()), seconds)
    return {name: one.p50 * 1e3 for name, one in zip(runs, times, strict=True)}


def make_random_images(size: Size, count: int) -> list[Tensor]:
    """Makes random images, uint8 1 3 H W, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randint, 0, 256, (1, 3, *size), generator=generator, dtype=torch.uint8)
    return [draw() for _ in range(count)]


def read_images(paths: list[Path], size: Size, count: int) -> list[Tensor]:
    """Reads at most `count` images, spread evenly over `paths`, as uint8 1 3 H W of `size`.

    paths: image files, folders of them, or one prepared dataset, whose training split is read.
    ValueError names the file that is no image.
    """
    if len(paths) == 1 and (paths[0] / "digest.json").exists():
        store = Store(paths[0], "train")
        total, read = len(store), store.read_image
    else:
        files = [file for path in paths for file in _list_images(path)]
        total, read = len(files), lambda index: load_rgb(files[index])
    chosen = np.linspace(0, total - 1, min(total, count)).round().astype(int).tolist()
    return [resize_image(read(index), size) for index in chosen]


def resize_image(image: np.ndarray, size: Size) -> Tensor:
    """Returns an image H W 3 uint8 as uint8 1 3 H W of `size`."""
    resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))[None]


def _list_images(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = (file for file in path.rglob("*") if not is_junk(file.relative_to(path).as_posix()))
    found = sorted(file for file in files if file.suffix.lower() in SUFFIXES)
    if not found:
        raise ValueError(f"--calibration: {path} holds no image and is no prepared dataset")
    return found
