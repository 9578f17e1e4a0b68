"""A model over a prepared split, at original label size (protocol 3.5)."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from lemore.data.loader import normalize
from lemore.data.store import Store
from lemore.data.transforms import resize_for_test
from lemore.evaluation.inference import label_map
from lemore.evaluation.metrics import Confusion
from lemore.progress import progress
from lemore.training.recipe import Test


@dataclass(frozen=True)
class Evaluation:
    """Metrics over a split, and the label maps of the images that were to be kept."""

    results: dict[str, Any]
    predictions: dict[str, np.ndarray]


def device_of(gpu: bool) -> torch.device:
    """ValueError if a GPU is wanted and there is none."""
    if gpu and not torch.cuda.is_available():
        raise ValueError("--gpu: torch sees no GPU on this machine")
    return torch.device("cuda" if gpu else "cpu")


def whole(img_scale: tuple[int, int]) -> Test:
    """The plain test settings: whole image, aspect kept, logits resized in two steps."""
    return Test("val", img_scale, None, "whole", (0, 0), "two_step")


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    store: Store,
    device: torch.device,
    test: Test,
    keep: Collection[str],
    crop_size: tuple[int, int] | None = None,
) -> Evaluation:
    """One pass over `store`; memory does not grow with it."""
    model.eval()
    confusion = Confusion(store.num_classes, 255)
    predictions: dict[str, np.ndarray] = {}
    for index in progress(range(len(store)), "evaluate", unit="image"):
        image, label = store.read(index)
        prediction = predict(model, image, device, test, crop_size)
        confusion.update(prediction, label)
        if (name := store.name(index)) in keep:
            predictions[name] = prediction
    return Evaluation(confusion.results(), predictions)


def predict(
    model: nn.Module,
    image: np.ndarray,
    device: torch.device,
    test: Test,
    crop_size: tuple[int, int] | None,
) -> np.ndarray:
    """Train ids (H, W) uint8 of an RGB image (H, W, 3) uint8."""
    return label_map(
        model,
        network_input(resize_for_test(image, test.img_scale, test.align), device),
        (image.shape[0], image.shape[1]),
        preset=test.upsample,
        mode=test.mode,
        crop_size=crop_size,
        stride=test.stride,
    )


def network_input(image: np.ndarray, device: torch.device) -> torch.Tensor:
    """1 3 H W float32, normalised, of an RGB image (H, W, 3) uint8."""
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return normalize(planes[None].to(device), None)
