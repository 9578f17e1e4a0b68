"""A trained model as a file for other programs, written and compared with the network itself."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from lemore import __version__
from lemore.config.formats import Precision, find_kind
from lemore.config.read import plain
from lemore.config.recipe import Test
from lemore.config.size import Size
from lemore.data.archives.images import SUFFIXES
from lemore.data.normalize import MEAN, STD, normalize
from lemore.data.store import Store
from lemore.evaluation import segmentation
from lemore.evaluation.upsample import resize
from lemore.models.fold import bake, fold
from lemore.profiling import backends, executorch_file, export, latency, litert_file, openvino_file
from lemore.profiling.runtimes import FileNetwork
from lemore.runtime.files import is_junk, write_atomic
from lemore.trained.checkpoint import Classes, Trained
from lemore.trained.exported_file import NORMALIZED, OUTPUTS, RAW, Interface
from lemore.trained.folder import describe
from lemore.trained.model import load_rgb


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


def describe_file(trained: Trained, classes: Classes, interface: Interface) -> dict[str, Any]:
    """Returns the metadata of files, which a program needs to use them; `trained` is for lemore."""
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
        "trained": plain(describe(trained, classes)),
    }


@dataclass(frozen=True)
class Source:
    """The network and the data from which exported files are made.

    deployed: the network that they compute. images: uint8 1 3 H W; INT8 is calibrated on them.
    metadata: of the files, which adds their precision. folder: of intermediate files.
    """

    deployed: nn.Module
    interface: Interface
    images: list[Tensor]
    metadata: dict[str, Any]
    folder: Path

    @cached_property
    def inputs(self) -> list[Tensor]:
        return [make_input(image, self.interface.raw) for image in self.images]

    @cached_property
    def onnx(self) -> Path:
        """The ONNX file in float32, from which others are made."""
        path = self.folder / "float32.onnx"
        dynamic, about = self.interface.dynamic_batch, self.metadata | {"precision": "float32"}
        export.write_onnx(
            self.deployed, self.inputs[0], path, dynamic_batch=dynamic, metadata=about
        )
        return path

    @cached_property
    def litert(self) -> Path:
        """The LiteRT file in float32, which is converted once for both precisions."""
        path = self.folder / "float32.tflite"
        litert_file.convert(self.deployed, self.inputs[0], path)
        return path


def write_file(source: Source, path: Path, precision: Precision) -> list[str]:
    """Writes a file of the kind that the path's suffix says, .pt2 being torch.export's. Returns the
    names of the layers that are left in float32 in a file of INT8."""
    arrays = [one.numpy() for one in source.inputs]
    about = source.metadata | {"precision": precision}
    match find_kind(path.name), precision:
        case "onnx", "float32":
            write_atomic(path, source.onnx.read_bytes())
        case "onnx", "float16":
            export.halve(source.onnx, path)
        case "onnx", "int8":
            export.quantize(source.onnx, path, arrays)
        case "openvino", _:
            return openvino_file.write(source.onnx, path, precision, arrays)
        case "executorch", _:
            executorch_file.write(source.deployed, path, precision, arrays, about)
        case "litert", _:
            litert_file.write(source.litert, path, precision, arrays, about)
        case _:
            dynamic = source.interface.dynamic_batch
            export.write_torch_export(
                source.deployed, source.inputs[0], path, dynamic_batch=dynamic, metadata=about
            )
    return []


def open_file(path: Path, threads: int) -> nn.Module:
    if find_kind(path.name):
        return FileNetwork(path, threads)
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
