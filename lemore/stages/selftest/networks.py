"""Checks of trained networks: label maps of the device under test against the CPU's."""

import time
from typing import Any

import numpy as np
import torch
from torch import nn

from lemore.config.size import Size
from lemore.evaluation import segmentation
from lemore.evaluation.metrics import Evaluation
from lemore.models.fold import bake, fold
from lemore.models.segmentor import make_model
from lemore.profiling import backends, latency
from lemore.runtime import checkpoint
from lemore.stages.selftest.bench import CROP, MAIN, SIZE, Bench
from lemore.stages.selftest.outcome import Figure
from lemore.trained import exported
from lemore.trained.exported_file import Interface
from lemore.trained.find import read_trained
from lemore.trained.load import load

DIFFERENT = 0.02  # share of pixels; near a border between two classes rounding decides
RUNS = 20
FILES = {"onnx": "selftest.onnx", "torch_export": "selftest.pt2"}


def check_network(bench: Bench) -> list[Figure]:
    """Computes the logits of one image."""
    network = make_model(bench.make_job(MAIN))
    network.load_state_dict(checkpoint.load_tensors(bench.checkpoint))
    image = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    network.eval().requires_grad_(False)
    expected = bench.remember("network", lambda: network(image))
    found = network.to(bench.device)(image.to(bench.device)).cpu()
    gap = float((found - expected).abs().max() / expected.std())
    return [Figure("logits differ by", gap, 0.05, " deviations")]


def check_evaluation(bench: Bench) -> list[Figure]:
    """Evaluates whole images."""
    return _compare_splits(bench, "evaluation")


def check_tta(bench: Bench) -> list[Figure]:
    """Evaluates three sizes of each image and their mirror images."""
    return _compare_splits(bench, "tta", ratios=(0.75, 1.0, 1.25), flip=True)


def check_slide(bench: Bench) -> list[Figure]:
    """Evaluates windows that overlap."""
    return _compare_splits(bench, "slide", mode="slide", stride=(32, 32))


def check_predict(bench: Bench) -> list[Figure]:
    """Predicts a photo as a whole."""
    return _compare_predictions(bench, "predict", None)


def check_tiles(bench: Bench) -> list[Figure]:
    """Predicts a photo in overlapping tiles."""
    return _compare_predictions(bench, "tiles", CROP)


def check_latency(bench: Bench) -> list[Figure]:
    """Times one image, and compares the median with the time of many runs at once."""
    network = make_model(bench.make_job(MAIN)).eval()
    backend = "cuda" if bench.gpus else "eager"
    (measured,) = latency.measure(
        bake(fold(network, norms=True, device=bench.device.type)),
        CROP,
        backend=backend,
        threads=bench.threads,
        seconds=2.0,
        ends=(False,),
    )
    together = _time_together(network.to(bench.device), bench)
    ratio = max(measured.p50_ms / together, together / measured.p50_ms)
    figures = [Figure("median", measured.p50_ms, unit=" ms")]
    figures += [Figure("off by a factor of", ratio, 4.0)]
    if measured.peak_memory_mb is not None:
        figures.append(Figure("peak memory", measured.peak_memory_mb, unit=" MiB"))
    return figures


def check_export(bench: Bench) -> list[Figure]:
    """Writes the network to a file and compares what the file computes."""
    trained, figures = read_trained(str(bench.checkpoint)), []
    kinds = ["torch_export"] + ([] if backends.explain_absence("onnxruntime") else ["onnx"])
    interface = Interface(CROP, dynamic_batch=False, raw=False, labels=None)
    images = exported.make_random_images(CROP, 2)
    for kind in kinds:
        network, deployed = exported.build_networks(trained, interface)
        path = bench.folder / FILES[kind]
        source = exported.Source(deployed, interface, images, {}, bench.folder)
        exported.write_file(source, path, "float32")
        file = exported.open_file(path, bench.threads)
        record = exported.compare_outputs(network, file, interface, images)
        figures += [
            Figure(f"{kind}: labels that differ", 1 - record["equal_labels"], 0.001),
            Figure(f"{kind}: logits differ by", record["largest_difference"], 0.01),
        ]
    return figures


def _compare_splits(bench: Bench, name: str, **changes: Any) -> list[Figure]:
    """Compares the label maps of the validation split, and its mIoU."""
    store, test = bench.val, bench.make_test(**changes)
    names = [store.name(i) for i in range(len(store))]

    def label(device: torch.device) -> Evaluation:
        network = _load(bench, device).network
        return segmentation.evaluate(network, store, device, test, names, CROP, title=name)

    expected = bench.remember(name, lambda: label(torch.device("cpu")))
    found = label(bench.device)
    maps = [[one.predictions[n] for n in names] for one in (expected, found)]
    gap = abs(found.results["miou"] - expected.results["miou"])
    return [*_compare_maps(*maps), Figure("mIoU differs by", gap, 0.01)]


def _compare_predictions(bench: Bench, name: str, tile: Size | None) -> list[Figure]:
    image = bench.val.read_image(0)

    def predict(device: torch.device) -> np.ndarray:
        return _load(bench, device).predict(image, tile=tile).label_map

    expected = bench.remember(name, lambda: predict(torch.device("cpu")))
    return _compare_maps([expected], [predict(bench.device)])


def _compare_maps(expected: list[np.ndarray], found: list[np.ndarray]) -> list[Figure]:
    shares = [float((a != b).mean()) for a, b in zip(expected, found, strict=True)]
    return [Figure("share of pixels that differ", max(shares), DIFFERENT)]


def _load(bench: Bench, device: torch.device) -> Any:
    return load(bench.checkpoint, device=device, data_dir=bench.folder)


@torch.inference_mode()
def _time_together(network: nn.Module, bench: Bench) -> float:
    """Returns milliseconds an image of runs that are waited for once."""
    image = torch.randn(1, 3, *CROP, device=bench.device)
    before = torch.get_num_threads()
    torch.set_num_threads(bench.threads)
    for count in (3, RUNS):  # the first ones warm up
        begin = time.perf_counter()
        for _ in range(count):
            logits = network(image)
        float(logits.sum())  # waits for the device
    torch.set_num_threads(before)
    return 1000 * (time.perf_counter() - begin) / RUNS
