"""A model over a prepared split, at original label size (protocol 3.5)."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from lemore.config.labels import IGNORE
from lemore.config.recipe import Test
from lemore.data.augment.segmentation import resize_for_test
from lemore.data.loader import normalize
from lemore.data.store import Store
from lemore.evaluation.inference import make_views
from lemore.evaluation.measures import Counts, Measures
from lemore.evaluation.pipeline import overlapped
from lemore.evaluation.upsample import View, label_views
from lemore.runtime.progress import show_progress


@dataclass(frozen=True)
class Evaluation:
    """Measures over a split.

    per_image: `names` (N) and pixels by image and class, int64 N x K, of `Measures.per_image`.
    predictions: the label maps of the images that were to be kept.
    """

    results: dict[str, Any]
    per_image: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]


def device_of(gpu: bool) -> torch.device:
    """ValueError if a GPU is wanted and there is none."""
    if gpu and not torch.cuda.is_available():
        raise ValueError("--gpu: torch sees no GPU on this machine")
    return torch.device("cuda" if gpu else "cpu")


def whole(img_scale: tuple[int, int]) -> Test:
    """The plain test settings: whole image, aspect kept, logits resized in two steps."""
    return Test("val", img_scale, None, "whole", (0, 0), "two_step", (1.0,), False)


@contextmanager
def _no_search_for_kernels() -> Iterator[None]:
    """Images differ in size, and cuDNN would search anew for every size."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@_no_search_for_kernels()
def evaluate(
    model: nn.Module,
    store: Store,
    device: torch.device,
    test: Test,
    keep: Collection[str],
    crop_size: tuple[int, int] | None = None,
    *,
    title: str = "evaluate",
) -> Evaluation:
    """One pass over `store`; memory grows with it only by `per_image`. title: of its progress.

    The model runs in this thread, on as many cores as torch is set to; as many threads read and
    measure meanwhile.
    """
    model.eval()
    measures = Measures(store.num_classes, IGNORE)

    def read(index: int) -> tuple[list[torch.Tensor], np.ndarray]:
        image, label = store.read(index)
        return inputs(image, device, test), label

    def forward(sample: tuple[list[torch.Tensor], np.ndarray]) -> tuple[list[View], np.ndarray]:
        return forward_views(model, sample[0], test, crop_size), sample[1]

    def finish(sample: tuple[list[View], np.ndarray]) -> tuple[np.ndarray, Counts]:
        views, label = sample
        prediction = label_views(views, label.shape)
        return prediction, measures.count(prediction, label)

    names, predictions = [], {}
    images = range(len(store))
    done = overlapped(read, forward, finish, images, torch.get_num_threads())
    for index, (prediction, counts) in enumerate(
        show_progress(done, title, total=len(images), unit="image")
    ):
        measures.add(counts)
        names.append(store.name(index))
        if names[-1] in keep:
            predictions[names[-1]] = prediction
    per_image = {"names": np.array(names, dtype=np.str_), **measures.per_image()}
    return Evaluation(measures.results(), per_image, predictions)


def predict(
    model: nn.Module,
    image: np.ndarray,
    device: torch.device,
    test: Test,
    crop_size: tuple[int, int] | None,
) -> np.ndarray:
    """Train ids (H, W) uint8 of an RGB image (H, W, 3) uint8."""
    views = forward_views(model, inputs(image, device, test), test, crop_size)
    return label_views(views, (image.shape[0], image.shape[1]))


def inputs(image: np.ndarray, device: torch.device, test: Test) -> list[torch.Tensor]:
    """An RGB image (H, W, 3) uint8 at each of the test's sizes: normalised, 1 3 h w."""
    long, short = test.img_scale
    sizes = [(int(long * ratio), int(short * ratio)) for ratio in test.ratios]
    return [network_input(resize_for_test(image, size, test.align), device) for size in sizes]


def network_input(image: np.ndarray, device: torch.device) -> torch.Tensor:
    """1 3 H W float32, normalised, of an RGB image (H, W, 3) uint8."""
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return normalize(planes[None].to(device), None)


def forward_views(
    model: nn.Module, images: list[torch.Tensor], test: Test, crop_size: tuple[int, int] | None
) -> list[View]:
    return make_views(
        model,
        images,
        flip=test.flip,
        preset=test.upsample,
        mode=test.mode,
        crop_size=crop_size,
        stride=test.stride,
    )
