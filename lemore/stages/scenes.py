"""The scenes stage: draws a stand-in dataset and packs it like the genuine archives."""

from pathlib import Path

from lemore.config.dataset import DatasetConfig
from lemore.config.read import load
from lemore.data.archives.source import make_entry, make_record
from lemore.runtime.files import hash_file, write_atomic, write_json
from lemore.scenes.layouts import draw_archives


def draw_dataset(config_file: Path, output: Path, *, workers: int) -> int:
    """Writes the archives and digest.json, which `lemore prepare` reads; returns the exit code."""
    config, name = load(DatasetConfig, config_file), config_file.stem
    if config.scenes is None:
        raise ValueError(f"{config_file}: scenes is null; `lemore fetch` gets this dataset")
    records = []
    for file, content in draw_archives(name, config, workers):
        path = output / file
        write_atomic(path, content)
        records.append(make_entry(path, hash_file(path)))
        print(f"{path}: {len(content)} bytes")
    digest = {**make_record(name, records), "scenes": True, "seed": config.scenes.seed}
    write_json(output / "digest.json", digest)
    return 0
