"""A detector over a prepared split, measured in the photos' original pixels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from lemore.config.size import Size
from lemore.data.augment.segmentation import pad, resize_for_test
from lemore.data.normalize import normalize
from lemore.data.objects import Objects
from lemore.data.store import Store
from lemore.evaluation.detection import Row, make_annotations, make_results, measure
from lemore.evaluation.pipeline import overlap
from lemore.runtime.progress import show_progress

# the measures as they are printed
NAMES = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "ap_s": "AP_S", "ap_m": "AP_M", "ap_l": "AP_L"}


class Padded(NamedTuple):
    """A photo, resized and padded. image: uint8 H W 3 RGB. valid: (H, W) without the padding.
    original: before resizing."""

    image: np.ndarray
    valid: Size
    original: Size


class Found(NamedTuple):
    """Boxes found in a photo, the surest first.

    boxes: float32 N 4, x1 y1 x2 y2 in its own pixels. classes: int64 N train ids. scores: float32
    N, larger is surer.
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def pad_photo(image: np.ndarray, img_scale: tuple[int, int], padding: int) -> Padded:
    """Fits a photo H W 3 uint8 RGB into (long, short) sides, and pads it to multiples."""
    resized = resize_for_test(image, img_scale, None)
    height, width = (-(-side // padding) * padding for side in resized.shape[:2])
    return Padded(pad(resized, (height, width), 0), resized.shape[:2], image.shape[:2])


@torch.inference_mode()
def detect(network: Any, photos: Sequence[Padded], device: torch.device) -> list[Found]:
    """Returns what a detector finds in photos that are padded to one size."""
    pixels = np.stack([photo.image.transpose(2, 0, 1) for photo in photos])  # B 3 H W
    valid, original = ([*sizes] for sizes in zip(*(photo[1:] for photo in photos), strict=True))
    planes = torch.from_numpy(pixels).to(device)
    outputs = network(normalize(planes, torch.tensor(valid, device=device)))
    found = network.detection_head.detect(outputs, pixels.shape[2:], valid, original)
    return [Found(*(values.cpu().numpy() for values in one)) for one in found]


def evaluate(
    network: Any,
    store: Store,
    device: torch.device,
    img_scale: tuple[int, int],
    *,
    title: str = "evaluate",
) -> tuple[dict[str, Any], list[Row]]:
    """Returns the measures of `detection.measure`, in the order of train ids where they are by
    class, and the predictions in the form that COCO's server takes.

    network: a detector, which runs in this thread; as many others as torch's threads read and
    convert. img_scale: (long, short) side in pixels that a photo is fitted into.
    """
    network.eval()
    ids = store.category_ids

    def read(index: int) -> tuple[int, Padded, Objects]:
        image, objects = store.read(index)
        return index, pad_photo(image, img_scale, network.padding), objects

    def forward(sample: tuple[int, Padded, Objects]) -> tuple[int, Objects, Found]:
        index, photo, objects = sample
        return index, objects, detect(network, [photo], device)[0]

    def finish(done: tuple[int, Objects, Found]) -> tuple[int, list[Row], list[Row]]:
        index, objects, found = done
        number = store.read_image_id(index)
        truth = (objects.boxes, objects.classes, objects.crowd, objects.areas)
        annotations = make_annotations(number, *truth, ids)
        return number, annotations, make_results(number, *found, ids)

    done = overlap(read, forward, finish, range(len(store)), torch.get_num_threads())
    numbers, annotations, results = [], [], []
    for number, truth, found in show_progress(done, title, total=len(store), unit="image"):
        numbers.append(number)
        annotations += truth
        results += found
    return measure(numbers, ids, annotations, results), results
