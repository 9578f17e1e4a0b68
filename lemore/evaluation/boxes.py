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


class Sample(NamedTuple):
    """A photo, resized and padded. image: uint8 H W 3 RGB. valid: (H, W) without the padding.
    original: before resizing."""

    index: int
    image: np.ndarray
    valid: Size
    original: Size
    objects: Objects


def evaluate(
    network: Any,
    store: Store,
    device: torch.device,
    img_scale: tuple[int, int],
    *,
    title: str = "evaluate",
) -> tuple[dict[str, float | None], list[Row]]:
    """Returns COCO's average precisions, and the predictions in the form that COCO's server takes.

    network: a detector, which runs in this thread; as many others as torch's threads read and
    convert. img_scale: (long, short) side in pixels that a photo is fitted into.
    """
    network.eval()
    ids = store.category_ids

    def read(index: int) -> Sample:
        image, objects = store.read(index)
        resized = resize_for_test(image, img_scale, None)
        valid, original = resized.shape[:2], image.shape[:2]
        frame = [-(-side // network.padding) * network.padding for side in valid]
        return Sample(index, pad(resized, (frame[0], frame[1]), 0), valid, original, objects)

    @torch.inference_mode()
    def forward(sample: Sample) -> tuple[Sample, Sequence[np.ndarray]]:
        planes = torch.from_numpy(np.ascontiguousarray(sample.image.transpose(2, 0, 1)))[None]
        valid = torch.tensor([sample.valid], device=device)
        outputs = network(normalize(planes.to(device), valid))
        place = (sample.image.shape[:2], [sample.valid], [sample.original])
        found = network.detection_head.detect(outputs, *place)[0]
        return sample, [values.cpu().numpy() for values in found]

    def finish(done: tuple[Sample, Sequence[np.ndarray]]) -> tuple[int, list[Row], list[Row]]:
        (index, *_, objects), (boxes, classes, scores) = done
        number = store.read_image_id(index)
        truth = (objects.boxes, objects.classes, objects.crowd, objects.areas)
        annotations = make_annotations(number, *truth, ids)
        return number, annotations, make_results(number, boxes, classes, scores, ids)

    done = overlap(read, forward, finish, range(len(store)), torch.get_num_threads())
    numbers, annotations, results = [], [], []
    for number, truth, found in show_progress(done, title, total=len(store), unit="image"):
        numbers.append(number)
        annotations += truth
        results += found
    return measure(numbers, ids, annotations, results), results
