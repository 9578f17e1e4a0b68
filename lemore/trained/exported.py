"""An exported file beside the network that it was made from: outputs, mIoU, latency."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lemore.data.loader import normalize
from lemore.data.store import Store
from lemore.evaluation import segmentation
from lemore.evaluation.inference import resize
from lemore.profiling import backends, export, latency

Size = tuple[int, int]


@dataclass(frozen=True)
class Exported:
    """A file and where it comes from.

    model: the network as it was trained; deployed: what the file is to compute, for images of
    `size` (H, W); file: the file, as a network; unquantized: the float file that an INT8 one was
    made from; raw: they take RGB 0..255; labels: they give train ids.
    """

    model: nn.Module
    deployed: nn.Module
    file: nn.Module
    unquantized: nn.Module | None
    size: Size
    raw: bool
    labels: bool


def open_file(path: Path, threads: int) -> nn.Module:
    if path.suffix == ".onnx":
        return export.OnnxNetwork(path, threads)
    return export.ProgramNetwork(path)


def feed(image: Tensor, raw: bool) -> Tensor:
    """What a file takes of an image uint8 1 3 H W."""
    return image.float() if raw else normalize(image, None)


@torch.inference_mode()
def compare(exported: Exported, images: list[Tensor]) -> dict[str, Any]:
    """Largest difference of the logits (None if the file has none) and share of equal labels."""
    differences, equal = [], []
    for image in images:
        expected = exported.model(normalize(image, None))
        found = exported.file(feed(image, exported.raw))
        if not exported.labels:
            differences.append((found - expected).abs().max().item())
            found = resize(found, exported.size).argmax(1)
        wanted = resize(expected, exported.size).argmax(1)
        equal.append((found == wanted).float().mean().item())
    return {
        "images": len(images),
        "largest_difference": max(differences, default=None),
        "equal_labels": float(np.mean(equal)),
    }


def evaluate(exported: Exported, store: Store, img_scale: tuple[int, int]) -> dict[str, Any]:
    """mIoU of PyTorch and of the file, all images of `store` resized to the file's size."""
    test = replace(segmentation.whole(img_scale), split=store.split, mode="square")
    cpu = torch.device("cpu")
    both = (("miou", exported.model), ("miou_file", exported.file))
    return {
        name: segmentation.evaluate(one, store, cpu, test, (), exported.size).results["miou"]
        for name, one in both
    }


@torch.inference_mode()
def measure(exported: Exported, threads: int, seconds: float) -> dict[str, Any]:
    """p50 in milliseconds of one image: PyTorch (eager), the file, for INT8 the float file too."""
    image = torch.randn(1, 3, *exported.size)
    runs = {
        "pytorch_ms": backends.prepare("eager", exported.deployed, image, (False,), threads)[False],
        "file_ms": partial(exported.file, image),
    }
    if exported.unquantized is not None:
        runs["float_file_ms"] = partial(exported.unquantized, image)
    times = {name: latency.repeat(run, seconds).p50 * 1e3 for name, run in runs.items()}
    return times | {"threads": threads}
