"""The prepare stage: says what a fetched dataset holds, then builds its store."""

from pathlib import Path

from lemore.config.code import code_version
from lemore.config.dataset import DatasetConfig
from lemore.config.read import load
from lemore.data.archives.source import open_source
from lemore.data.prepare.audit import find_problem
from lemore.data.prepare.build import build_store
from lemore.data.prepare.explain import explain


def prepare_dataset(
    *,
    dataset_config: Path,
    fetched: Path,
    output: Path,
    workers: int,
    allow_partial: bool,
    dry_run: bool,
) -> int:
    """Logs what a dataset holds and prepares it; returns the exit code.

    A dry run writes nothing. It makes the same checks on the samples that it opens, and raises the
    same ValueError.
    """
    config, name = load(DatasetConfig, dataset_config), dataset_config.stem
    source = open_source(name, fetched)
    found = explain(name, config, source)
    if dry_run:
        problem = find_problem(found, allow_partial, config.quarantine_limit)
        if problem is not None:
            raise ValueError(problem)
        return 0
    code = code_version("prepare", [f"lemore.data.readers.{config.reader}"])
    digest = build_store(
        name, config, source, output, code=code, workers=workers, allow_partial=allow_partial
    )
    counts = ", ".join(f"{split} {part['count']}" for split, part in digest["splits"].items())
    print(f"{output}: {digest['dataset']}, {digest['num_classes']} classes, {counts}")
    return 0
