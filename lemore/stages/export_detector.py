"""Turns a detector into an ONNX file that ends in boxes, and compares it with PyTorch."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lemore.config.size import Size
from lemore.data.normalize import MEAN, STD, normalize
from lemore.models.detector import PADDING, BoxFinder
from lemore.models.fold import bake, fold
from lemore.profiling import export
from lemore.profiling.runtimes import FileNetwork
from lemore.runtime.files import write_json
from lemore.trained import exported
from lemore.trained.checkpoint import Classes, Trained
from lemore.trained.exported_file import BOXES, Interface

log = logging.getLogger(__name__)
OUTPUTS = ("boxes", "classes", "scores")
EQUAL_BOXES = 0.99  # a file with a smaller share is wrong
NEAR = (1.0, 1e-3)  # a box is the same within so many pixels and so much of its score


def choose_size(trained: Trained, size: list[int] | None) -> Size:
    """Chooses the (H, W) of a file's images: the training's, filled up to whole strides."""
    height, width = size or trained.job.train.crop_size
    whole = (-(-height // PADDING) * PADDING, -(-width // PADDING) * PADDING)
    if size and tuple(size) != whole:
        raise ValueError(
            f"--size: {height} x {width}, expected multiples of {PADDING} such as "
            f"{whole[0]} x {whole[1]}: a detector's images are padded to them"
        )
    return whole


def export_detector(
    trained: Trained,
    classes: Classes,
    images: list[Tensor],
    output: Path,
    *,
    raw: bool,
    compared_on: str,
    threads: int,
    seconds: float,
    json: Path | None,
) -> int:
    """Writes the file for images like `images`, uint8 1 3 H W, which it is compared on.

    raw: they are RGB 0..255, else normalised. Returns 1 if the file differs too much.
    """
    size = (images[0].shape[2], images[0].shape[3])
    record = exported.describe_file(trained, classes, Interface(size, False, raw, None))
    record |= {"precision": "float32", "output": BOXES, "category_ids": list(classes.category_ids)}
    model = trained.unfolded().eval().requires_grad_(False)
    deployed = export.Deployed(
        BoxFinder(bake(fold(trained.unfolded(size).requires_grad_(False), norms=True))),
        normalization=(MEAN, STD) if raw else None,
    ).eval()
    first = exported.make_input(images[0], raw)
    export.write_onnx(deployed, first, output, metadata=record, outputs=OUTPUTS)
    del record["trained"]
    file = FileNetwork(output, threads)
    record |= {"file": str(output), "format": "onnx", "bytes": output.stat().st_size}
    record |= {"compared_on": compared_on, "threads": threads}
    record |= compare_boxes(model, file, raw, images)
    record |= exported.measure_latency(deployed, {"file_ms": file}, size, threads, seconds)
    print("\n".join(format_record(record)))
    if json is not None:
        write_json(json, record)
    return check_agreement(record)


def check_agreement(record: dict[str, Any]) -> int:
    """Returns the exit code: 1 for a file whose boxes differ too much. It is told, and so is a
    comparison of nothing."""
    if not record["boxes"]:
        log.warning("export: nothing was compared: give --calibration photos with objects")
    if record["equal_boxes"] >= EQUAL_BOXES:
        return 0
    log.error(
        "export: %s is not to be trusted: %g %% of its boxes should be PyTorch's",
        *(record["file"], 100 * EQUAL_BOXES),
    )
    return 1


@torch.inference_mode()
def compare_boxes(model: Any, file: nn.Module, raw: bool, images: list[Tensor]) -> dict[str, Any]:
    """Counts the boxes that the network as trained, with torchvision's own selection, and the file
    both find; the share is of the more numerous, 1 where there are none."""
    total, equal, largest = 0, 0, 0.0
    for image in images:
        size = (image.shape[2], image.shape[3])
        outputs = model(normalize(image, None))
        expected = model.detection_head.detect(outputs, size, [size], [size])[0]
        boxes, classes, scores = file(exported.make_input(image, raw))
        total += max(len(boxes), len(expected.boxes))
        if not len(boxes):
            continue
        # expected x found, pixels
        apart = (expected.boxes[:, None] - boxes[None]).abs().amax(2)
        others = expected.classes[:, None] != classes[None]
        others |= (expected.scores[:, None] - scores[None]).abs() > NEAR[1]
        nearest = apart.masked_fill(others, float("inf")).amin(1)
        same = nearest[nearest <= NEAR[0]]
        equal += len(same)
        largest = max(largest, *same.tolist(), 0.0)
    return {
        "images": len(images),
        "boxes": total,
        "equal_boxes": equal / total if total else 1.0,
        "largest_difference": largest,
    }


def format_record(record: dict[str, Any]) -> list[str]:
    """Formats the comparison as lines for reading."""
    height, width = record["size"]
    return [
        f"{record['file']}: {record['model']} ({record['dataset']}) as onnx, {height}x{width}, "
        f"{record['bytes'] / 1e6:.2f} MB",
        "  ends in boxes, after decoding and non-maximum suppression",
        f"  against PyTorch on {record['images']} {record['compared_on']} images: "
        f"{100 * record['equal_boxes']:.2f} % of {record['boxes']} boxes are equal, "
        f"within {record['largest_difference']:.1e} pixels",
        f"  {record['threads']} thread(s): the file {record['file_ms']:.1f} ms an image, PyTorch "
        f"{record['pytorch_ms']:.1f} ms",
    ]
