"""From archives as fetched to a store: every label mapped once, every fault found and named.

The store is built beside its final place and renamed as a whole, so that a crash leaves the old
one; nothing is unpacked. The digest depends on the content alone (photo bytes, train ids, names,
classes), not on paths, workers or the compression of the packs.
"""

import hashlib
import json
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lemore.data import audit, labels, thumbnails
from lemore.data.parallel import ordered_map
from lemore.data.samples import Job, Prepared, RawSample, find_reader, prepare_sample
from lemore.data.schema import DatasetConfig
from lemore.data.source import Source, open_source
from lemore.data.store import PackWriter, Store
from lemore.files import write_json
from lemore.lock import locked
from lemore.progress import progress

log = logging.getLogger(__name__)


def prepare(
    name: str,
    config: DatasetConfig,
    fetched: Path,
    output: Path,
    *,
    workers: int,
    allow_partial: bool,
    quarantine_limit: int,
) -> dict[str, Any]:
    """Builds the store of dataset `name` at folder `output` and returns its digest.

    ValueError if more than `quarantine_limit` samples are faulty, or if a count differs from the
    configuration's and not `allow_partial`; the audit is then left as <output>.rejected.json.
    """
    source, record = open_source(fetched)
    if record["dataset"] != name:
        raise ValueError(f"{fetched}: fetched for '{record['dataset']}', not for '{name}'")
    rejected = output.with_name(output.name + ".rejected.json")
    with locked(output, wait=False):
        _remove_leftovers(output)
        folder = output.with_name(f".{output.name}.tmp")
        folder.mkdir(parents=True)
        try:
            digest, result = _build(name, config, source, folder, workers)
            problem = _verdict(result, allow_partial, quarantine_limit)
            if problem is not None:
                write_json(rejected, result)
                raise ValueError(f"{problem}; see {rejected}")
            result["origin"] = record
            write_json(folder / "audit.json", result)
            write_json(folder / "digest.json", digest)
            _sheets(folder, config)
            _replace(folder, output)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    rejected.unlink(missing_ok=True)
    return digest


def _build(
    name: str, config: DatasetConfig, source: Source, folder: Path, workers: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Writes the packs of every split; returns (digest, audit)."""
    reader = find_reader(config.reader)
    classes = _classes(config, source)
    audits, splits = [], {}
    by_hash: dict[str, list[str]] = defaultdict(list)
    for split, expected in config.splits.items():
        samples = list(reader.samples(source, split))
        _refuse_same_names(samples, split)
        summary = audit.SplitAudit(split, expected, classes)
        jobs = (Job(config.reader, config.labels, sample) for sample in samples)
        chunk = max(1, min(8, len(samples) // (4 * workers)))
        results = ordered_map(prepare_sample, jobs, min(workers, len(samples)), chunk)
        results = progress(results, f"prepare {name} {split}", len(samples), "images")
        sha256 = _write_split(results, PackWriter(folder, split, config.task), summary, by_hash)
        splits[split] = {"count": summary.count, "sha256": sha256}
        audits.append(summary)
    digest = _digest(name, config, classes, splits)
    result = audit.report(name, config, classes, audits)
    result["annotation"] = reader.annotation(source)
    result["duplicates"] = audit.duplicates(by_hash)
    return digest, result


def _write_split(
    results: Iterable[Prepared],
    writer: PackWriter,
    summary: audit.SplitAudit,
    by_hash: dict[str, list[str]],
) -> str:
    """Stores the sound samples; returns the sha256 over names, photos and train ids."""
    content = hashlib.sha256()
    for sample in results:
        summary.add(sample)
        if sample.problem is None:
            writer.add(sample.name, sample.size, sample.image, sample.label)
            line = f"{sample.name} {sample.size} {sample.image_sha256} {sample.label_sha256}\n"
            content.update(line.encode())
            by_hash[sample.image_sha256].append(f"{writer.split}/{sample.name}")
    writer.close()
    return content.hexdigest()


def _classes(config: DatasetConfig, source: Source) -> list[str]:
    if config.labels is not None:
        names = list(labels.load(config.labels).names)
    else:
        names = find_reader(config.reader).classes(source)
    if len(names) != config.num_classes:
        where = config.labels or source.describe()
        raise ValueError(f"{where}: {len(names)} classes, num_classes says {config.num_classes}")
    return names


def _digest(
    name: str, config: DatasetConfig, classes: list[str], splits: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    coding = labels.load(config.labels) if config.labels is not None else None
    matters = {
        "task": config.task,
        "num_classes": config.num_classes,
        "classes": classes,
        "splits": splits,
        "coding": [coding.ids, coding.train_ids] if coding is not None else None,
    }
    text = json.dumps(matters, sort_keys=True)
    return {
        "dataset": name,
        "task": config.task,
        "num_classes": config.num_classes,
        "classes": classes,
        "splits": splits,
        "source": "scenes" if config.scenes is not None else "archives",
        "stands_for": config.stands_for,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _verdict(result: dict[str, Any], allow_partial: bool, limit: int) -> str | None:
    """Why the dataset is not fit to be used, or None; what is tolerated is logged."""
    faults = result["quarantined"]
    if len(faults) > limit:
        first = "; ".join(f"{fault['problem']}" for fault in faults[:3])
        return f"{len(faults)} unusable samples (limit {limit}): {first}"
    for fault in faults:
        log.warning("left out: %s", fault["problem"])
    for problem in result["problems"]:
        log.warning("%s: %s", result["dataset"], problem)
    if result["problems"] and not allow_partial:
        text = "; ".join(result["problems"])
        return f"{result['dataset']}: {text} (--allow-partial takes it as it is)"
    if result["duplicates"]:
        number = len(result["duplicates"])
        log.warning("%s: %d groups of identical photos", result["dataset"], number)
    return None


def _refuse_same_names(samples: Iterable[RawSample], split: str) -> None:
    seen: set[str] = set()
    for sample in samples:
        if sample.name in seen:
            raise ValueError(f"two samples of split '{split}' are called '{sample.name}'")
        seen.add(sample.name)


def _sheets(folder: Path, config: DatasetConfig) -> None:
    for split in config.splits:
        sheet = folder / "thumbnails" / f"{split}.jpg"
        thumbnails.write_sheet(Store(folder, split), config.labels, sheet)


def _leftovers(output: Path) -> Iterator[Path]:
    yield output.with_name(f".{output.name}.tmp")
    yield output.with_name(f".{output.name}.old")


def _remove_leftovers(output: Path) -> None:
    """Clears what a killed prepare left; an old store that lost its name gets it back."""
    temporary, old = _leftovers(output)
    if old.exists() and not output.exists():
        os.replace(old, output)
    for path in (temporary, old):
        shutil.rmtree(path, ignore_errors=True)


def _replace(folder: Path, output: Path) -> None:
    old = output.with_name(f".{output.name}.old")
    if output.exists():
        os.replace(output, old)
    os.replace(folder, output)
    shutil.rmtree(old, ignore_errors=True)
