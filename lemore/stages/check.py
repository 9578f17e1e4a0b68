"""The check stage: whether the jobs of a prepared dataset can run, before any of them is paid for.

What a configuration says by itself is checked when it is read (`lemore/config`). Here is what needs
the data or the networks: the images of a comparison, empty splits, photos that the scale of a
recipe makes vanish, arguments of a module, a network and the size of its crops and batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lemore.config.jobs import EvaluateJob, FinetuneJob, PretrainJob, read_job
from lemore.config.recipe import Options
from lemore.data.augment.segmentation import fit_size
from lemore.data.store import Store
from lemore.models import torchvision_weights
from lemore.models.classifier import build_classifier
from lemore.models.segmentor import make_model
from lemore.runtime.files import write_json
from lemore.stages.evaluation_files import check_images
from lemore.stages.workers.shared import check_smallest_part


@dataclass(frozen=True)
class CheckOptions:
    """Options of the command. data: the prepared dataset's folder. The others name the YAML files
    of its jobs; workers: of each training."""

    data: Path
    finetune: list[Path]
    evaluate: list[Path]
    pretrain: list[Path]
    workers: int
    output: Path


def check(options: CheckOptions) -> None:
    """Writes the list of what was checked (JSON); ValueError names file, key and value."""
    checks: list[tuple[list[Path], Callable[[Path, CheckOptions], None]]] = [
        (options.finetune, check_finetuning),
        (options.evaluate, check_evaluation),
        (options.pretrain, check_pretraining),
    ]
    for paths, check_one in checks:
        for path in paths:
            check_one(path, options)
    checked = [str(path) for paths, _ in checks for path in paths]
    write_json(options.output, {"data": str(options.data), "checked": checked})


def check_finetuning(path: Path, options: CheckOptions) -> None:
    job = read_job(FinetuneJob, path)
    recipe = job.train
    low = recipe.scale_range[0]
    check_sizes(open_split(options.data, "train"), recipe.img_scale, (low,), f"{path}: train.")
    if recipe.validate_every:
        check_sizes(open_split(options.data, "val"), recipe.img_scale, (1.0,), f"{path}: train.")
    source, _, name = job.init.partition(":")
    if source == "torchvision":
        torchvision_weights.find_key_map(job.backbone.module)
        torchvision_weights.find_address(name)
    check_network(lambda: make_model(job), recipe, options.workers, f"{path}: train.")


def check_evaluation(path: Path, options: CheckOptions) -> None:
    job = read_job(EvaluateJob, path)
    store = open_split(options.data, job.test.split)
    check_images(store, job.images)
    check_sizes(store, job.test.img_scale, job.test.ratios, f"{path}: test.")


def check_pretraining(path: Path, options: CheckOptions) -> None:
    job = read_job(PretrainJob, path)
    for split in ("train", job.recipe.split):
        open_split(options.data, split)
    recipe = job.recipe
    shape = {"num_classes": job.num_classes, "input_size": recipe.crop_size}

    def make() -> nn.Module:
        return build_classifier(job.backbone, **shape, drop_path=recipe.drop_path)

    check_network(make, recipe, options.workers, f"{path}: recipe.")


def open_split(data: Path, split: str) -> Store:
    """Opens a split; ValueError if it is missing or holds no image."""
    store = Store(data, split)
    if len(store) == 0:
        raise ValueError(f"{data}: split '{split}' holds no image; see audit.json beside it")
    return store


def check_sizes(
    store: Store, img_scale: tuple[int, int], ratios: Sequence[float], place: str
) -> None:
    """Raises ValueError for a photo of which less than a pixel is left at the smallest ratio."""
    smallest = min(ratios)
    scale = (int(img_scale[0] * smallest), int(img_scale[1] * smallest))
    if min(scale) < 1:
        raise ValueError(f"{place}img_scale is {list(img_scale)}, of which {smallest} is nothing")
    narrow = [i for i in range(len(store)) if min(fit_size(store.get_size(i), scale)) < 1]
    if narrow:
        height, width = store.get_size(narrow[0])
        raise ValueError(
            f"{place}img_scale is {list(img_scale)}, in which '{store.name(narrow[0])}' of "
            f"{width} x {height} pixels vanishes at {smallest} of it (and {len(narrow) - 1} other "
            f"photos of split '{store.split}'): remove them, or choose a larger img_scale"
        )


def check_network(make: Callable[[], nn.Module], recipe: Options, workers: int, place: str) -> None:
    """Passes crops through the network that training makes, without memory and without numbers.

    ValueError if an argument is wrong, or the network does not fit the crops or their number.
    """
    with torch.device("meta"):
        network = make().train()
        images = torch.empty(2, 3, *recipe.crop_size)
    check_smallest_part(network, recipe, workers)
    try:
        network(images)
    except Exception as error:  # modules raise several kinds for sizes that do not fit
        raise ValueError(
            f"{place}crop_size is {list(recipe.crop_size)}, which the network cannot take ({error})"
        ) from None
