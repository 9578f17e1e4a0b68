"""Names and colours of the classes that a trained model predicts."""

import logging
from pathlib import Path

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.config.read import CONFIG, load
from lemore.runtime.files import read_json
from lemore.trained.checkpoint import Classes, Trained
from lemore.trained.find import DATA_DIR

log = logging.getLogger(__name__)


def find_classes(trained: Trained, data_dir: Path = DATA_DIR) -> Classes:
    """Finds classes in the weights' file, else the prepared dataset, else its configuration.

    Classes of an unknown dataset are numbered, with a warning.
    """
    if trained.classes is not None:
        return trained.classes
    name, number = trained.job.dataset, trained.job.num_classes
    for classes in (_read_prepared(data_dir / name), _read_configured(name)):
        if classes is not None and len(classes.names) == number:
            return classes
    log.warning(
        "%s: dataset '%s' is neither prepared in %s nor in config/datasets with %d classes; they "
        "are numbered (--data-dir names another folder)",
        *(trained.source, name, data_dir, number),
    )
    colors = tuple(labels.choose_color(k) for k in range(number))
    return Classes(tuple(f"class {k}" for k in range(number)), colors)


def _read_prepared(folder: Path) -> Classes | None:
    """Reads the classes of the labels as they were when the dataset was prepared."""
    if not (folder / "digest.json").is_file():
        return None
    colors = read_json(folder / "colors.json")
    return Classes(tuple(read_json(folder / "digest.json")["classes"]), tuple(map(tuple, colors)))


def _read_configured(name: str) -> Classes | None:
    config = find_dataset(name)
    if config is None or config.task != "segmentation":
        return None
    table = labels.find_table(config)
    return Classes(table.names, table.colors)


def find_dataset(name: str) -> DatasetConfig | None:
    """Returns config/datasets/<name>.yaml, None if there is none."""
    path = CONFIG / "datasets" / f"{name}.yaml"
    return load(DatasetConfig, path) if path.is_file() else None
