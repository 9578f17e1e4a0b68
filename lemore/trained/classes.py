"""The classes that a trained model predicts: names, colours, and the order in a dataset."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.config.read import load
from lemore.data.store import Store
from lemore.runtime.files import read_json
from lemore.runtime.shipped import find_file
from lemore.trained.checkpoint import Classes, Trained
from lemore.trained.find import DATA_DIR

log = logging.getLogger(__name__)
SHOWN = 8  # classes in a message


def find_classes(trained: Trained, data_dir: Path = DATA_DIR) -> Classes:
    """Finds classes in the weights' file, else the prepared dataset, else its configuration.

    A warning says if the prepared dataset has others, or if the weights hold no names. Classes of
    an unknown dataset are numbered. Those of a detector have COCO's category ids.
    """
    name = trained.job.dataset
    prepared, configured = _read_prepared(data_dir / name), _read_configured(name)
    classes = _find_names(trained, prepared, configured, data_dir)
    if trained.job.model.task == "segmentation" or classes.category_ids:
        return classes
    for other in (prepared, configured):
        if other is not None and other.names == classes.names and other.category_ids:
            return replace(classes, category_ids=other.category_ids)
    log.warning("%s: the category ids of its classes are not known; they count from 1", name)
    return replace(classes, category_ids=tuple(range(1, len(classes.names) + 1)))


def _find_names(
    trained: Trained, prepared: Classes | None, configured: Classes | None, data_dir: Path
) -> Classes:
    name, number = trained.job.dataset, trained.job.num_classes
    if trained.classes is not None:
        own = trained.classes.names
        if prepared is not None and prepared.names != own:
            difference = describe_difference(own, f"the prepared {name}", prepared.names)
            log.warning("%s: %s; those of the weights are kept", trained.source, difference)
        return trained.classes
    for classes in (prepared, configured):
        if classes is not None and len(classes.names) == number:
            log.warning("%s: holds no names of classes; %s's are taken", trained.source, name)
            return classes
    log.warning(
        "%s: dataset '%s' is neither prepared in %s nor in config/datasets with %d classes; they "
        "are numbered (--data-dir names another folder)",
        *(trained.source, name, data_dir, number),
    )
    colors = tuple(labels.choose_color(k) for k in range(number))
    return Classes(tuple(f"class {k}" for k in range(number)), colors)


class Reordered(nn.Module):
    """A network with its classes in another order: output class k is its own class order[k]."""

    order: Tensor

    def __init__(self, network: nn.Module, order: Sequence[int]):
        super().__init__()
        self.network = network
        self.register_buffer("order", torch.tensor(order), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """B 3 H W -> logits B K h w."""
        return self.network(x).index_select(1, self.order)


def fit_classes(network: nn.Module, trained: Trained, store: Store) -> nn.Module:
    """Returns a network of `trained` whose classes are in the order of the prepared dataset's."""
    order = order_classes(trained, store.classes, f"the prepared {store.dataset}")
    if order is not None and trained.job.model.task == "detection":
        raise ValueError(
            f"{trained.source}: the classes of {store.dataset} are in another order; detectors are "
            "not brought to it, prepare the data as they were when it was trained"
        )
    return network if order is None else Reordered(network, order)


def order_classes(trained: Trained, wanted: Sequence[str], other: str) -> list[int] | None:
    """Returns which class of `trained` is each of `wanted`; None if all have their places already.

    Classes are matched by name, and a warning says if their order differs. ValueError names both
    lists if the names do. Weights without names, of an earlier version, are taken as they are.
    other: names what has the wanted classes.
    """
    own = trained.classes and trained.classes.names
    if trained.job.num_classes != len(wanted) or (own and sorted(own) != sorted(wanted)):
        names = own or [f"class {k}" for k in range(trained.job.num_classes)]
        difference = describe_difference(names, other, wanted)
        raise ValueError(f"{trained.source}: {difference}; take a model and data of the same ones")
    if own is None:
        log.warning("%s: holds no names of classes; those of %s are taken", trained.source, other)
        return None
    if list(own) == list(wanted):
        return None
    difference = describe_difference(own, other, wanted)
    log.warning("%s: %s; they are matched by name", trained.source, difference)
    return [own.index(name) for name in wanted]


def describe_difference(own: Sequence[str], other: str, theirs: Sequence[str]) -> str:
    """Describes two lists of classes: whole where they are short, else by what differs."""

    def shorten(names: Sequence[str], others: Sequence[str]) -> str:
        if len(names) <= SHOWN:
            return ", ".join(names)
        different = [name for name in names if name not in others] or names
        return f"{', '.join(different[:SHOWN])}, ... ({len(names)} in all)"

    return f"trained with classes {shorten(own, theirs)}; {other} has {shorten(theirs, own)}"


def _read_prepared(folder: Path) -> Classes | None:
    """Reads the classes of the labels as they were when the dataset was prepared."""
    if not (folder / "digest.json").is_file():
        return None
    digest, colors = (read_json(folder / name) for name in ("digest.json", "colors.json"))
    ids = tuple(digest.get("category_ids", ()))
    return Classes(tuple(digest["classes"]), tuple(map(tuple, colors)), ids)


def _read_configured(name: str) -> Classes | None:
    config = find_dataset(name)
    if config is None or config.task == "classification":
        return None
    table = labels.find_table(config)
    ids = tuple(table.raw_ids) if config.task == "detection" else ()
    return Classes(table.names, table.colors, ids)


def find_dataset(name: str) -> DatasetConfig | None:
    """Returns config/datasets/<name>.yaml, None if there is none."""
    path = find_file(f"config/datasets/{name}.yaml")
    return load(DatasetConfig, path) if path.is_file() else None
