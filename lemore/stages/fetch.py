"""The fetch stage: a dataset's archives, found or downloaded, and the JSON that names them."""

from pathlib import Path
from typing import Any

from lemore.config.dataset import DatasetConfig
from lemore.config.placed import find_placed, remember_fetched
from lemore.config.read import load
from lemore.data.fetch.obtain import obtain_archives
from lemore.runtime.files import write_json


def fetch_dataset(
    config: Path, archives_dir: Path, mirrors: list[str], output: Path
) -> dict[str, Any]:
    """Fetches the dataset of a configuration file; writes what was found to `output`, and
    the hash of each file beside it."""
    dataset = load(DatasetConfig, config)
    key = find_placed(config.stem, dataset, archives_dir).make_key()
    record, hashes = obtain_archives(config.stem, dataset, archives_dir, mirrors, output)
    write_json(output, record)
    remember_fetched(output, key, hashes)
    return record
