"""A model over a prepared split, measured at the labels' original size."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from lemore.config.labels import IGNORE
from lemore.config.recipe import Test
from lemore.config.size import Size
from lemore.data.augment.segmentation import resize_for_test
from lemore.data.normalize import normalize
from lemore.data.store import Store
from lemore.evaluation.inference import make_passes
from lemore.evaluation.metrics import Evaluation, ImageCounts
from lemore.evaluation.pipeline import overlap
from lemore.evaluation.upsample import Pass, label_passes
from lemore.runtime.progress import show_progress


def make_plain_test(img_scale: tuple[int, int]) -> Test:
    """Returns settings for whole images, aspect kept, logits resized in two steps."""
    return Test("val", img_scale, None, "whole", (0, 0), "two_step", (1.0,), False)


@contextmanager
def _skip_kernel_search() -> Iterator[None]:
    """Turns off cuDNN's search for kernels, which would run again for every image size."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@_skip_kernel_search()
def evaluate(
    model: nn.Module,
    store: Store,
    device: torch.device,
    test: Test,
    keep: Collection[str],
    crop_size: Size | None = None,
    *,
    title: str = "evaluate",
) -> Evaluation:
    """Evaluates a model on `store`; memory grows only by the counts of each image.

    keep: names of the images whose label maps are returned too. title: of the progress line. The
    model runs in this thread, on as many cores as torch is set to; as many other threads read and
    measure.
    """
    model.eval()
    evaluation = Evaluation(store.num_classes, IGNORE)

    def read(index: int) -> tuple[list[Tensor], np.ndarray]:
        image, label = store.read(index)
        return make_inputs(image, device, test), label

    def forward(sample: tuple[list[Tensor], np.ndarray]) -> tuple[list[Pass], np.ndarray]:
        return make_passes(model, sample[0], test, crop_size), sample[1]

    def finish(sample: tuple[list[Pass], np.ndarray]) -> tuple[np.ndarray, ImageCounts]:
        passes, label = sample
        prediction = label_passes(passes, label.shape)
        return prediction, evaluation.count(prediction, label)

    images = range(len(store))
    done = overlap(read, forward, finish, images, torch.get_num_threads())
    shown = show_progress(done, title, total=len(images), unit="image")
    for index, (prediction, counts) in enumerate(shown):
        name = store.name(index)
        evaluation.add(name, counts)
        if name in keep:
            evaluation.predictions[name] = prediction
    return evaluation


def label_image(
    model: nn.Module, image: np.ndarray, device: torch.device, test: Test, crop_size: Size | None
) -> np.ndarray:
    """Predicts train ids (H, W) uint8 of an RGB image (H, W, 3) uint8."""
    passes = make_passes(model, make_inputs(image, device, test), test, crop_size)
    return label_passes(passes, (image.shape[0], image.shape[1]))


def make_inputs(image: np.ndarray, device: torch.device, test: Test) -> list[Tensor]:
    """Returns an RGB image (H, W, 3) uint8 at each of the test's sizes: normalised, 1 3 h w."""
    long, short = test.img_scale
    sizes = [(int(long * ratio), int(short * ratio)) for ratio in test.ratios]
    return [normalize_image(resize_for_test(image, size, test.align), device) for size in sizes]


def normalize_image(image: np.ndarray, device: torch.device) -> Tensor:
    """Returns 1 3 H W float32, normalised, of an RGB image (H, W, 3) uint8."""
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return normalize(planes[None].to(device), None)
