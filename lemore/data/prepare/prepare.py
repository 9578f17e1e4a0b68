"""From archives as fetched to a store: every label mapped once, every fault found and named.

The store is built beside its final place and renamed as a whole, so that a crash leaves the old
one; the next prepare of the same data by the same code goes on where the last was interrupted.
Nothing is unpacked. The digest depends on the content alone (photo bytes, train ids, names,
classes), not on paths, workers or the compression of the packs.
"""

import hashlib
import json
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.config.read import dump
from lemore.data.archives.source import Source, open_source
from lemore.data.prepare import audit, thumbnails
from lemore.data.prepare.journal import Journal
from lemore.data.prepare.parallel import ordered_map
from lemore.data.prepare.samples import Job, Prepared, RawSample, find_reader, prepare_sample
from lemore.data.store import Store
from lemore.runtime.files import write_atomic, write_json
from lemore.runtime.lock import hold_lock
from lemore.runtime.progress import show_progress

log = logging.getLogger(__name__)


def prepare(
    name: str,
    config: DatasetConfig,
    fetched: Path,
    output: Path,
    *,
    code: str,
    workers: int,
    allow_partial: bool,
) -> dict[str, Any]:
    """Builds the store of dataset `name` at folder `output` and returns its digest.

    `code`: version of the code that prepares; work that another one began is not continued.

    ValueError if more samples are faulty than the configuration's `quarantine_limit`, or if a count
    differs from the expected one and not `allow_partial`; the audit is then left as
    <output>.rejected.json.
    """
    source, record = opened(name, fetched)
    rejected = output.with_name(output.name + ".rejected.json")
    with hold_lock(output):
        folder = _work_folder(output, _key(config, record, code))
        try:
            digest, result = _build(name, config, source, folder, workers)
            problem = _verdict(result, allow_partial, config.quarantine_limit)
            if problem is not None:
                write_json(rejected, result)
                raise ValueError(f"{problem}; see {rejected}")
        except ValueError:
            shutil.rmtree(folder)  # the data is at fault: nothing to go on with
            raise
        result["origin"] = record
        write_json(folder / "audit.json", result)
        write_json(folder / "digest.json", digest)
        write_json(folder / "colors.json", _colors(config))
        _sheets(folder, config)
        _replace(folder, output)
    rejected.unlink(missing_ok=True)
    return digest


def opened(name: str, fetched: Path) -> tuple[Source, dict[str, Any]]:
    """The source that `fetched` names and its record; ValueError if it is another dataset's."""
    source, record = open_source(fetched)
    if record["dataset"] != name:
        raise ValueError(f"{fetched}: fetched for '{record['dataset']}', not for '{name}'")
    return source, record


def _build(
    name: str, config: DatasetConfig, source: Source, folder: Path, workers: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Writes the packs of every split; returns (digest, audit)."""
    reader = find_reader(config)
    classes = _classes(config, source)
    audits, splits = [], {}
    by_hash: dict[str, list[str]] = defaultdict(list)
    for split, expected in config.splits.items():
        samples = list(reader.samples(source, split))
        _refuse_same_names(samples, split)
        summary = audit.SplitAudit(split, expected, classes)
        journal = Journal(folder, split, config.task)
        left = samples[journal.done :]
        if journal.done:
            log.info("%s %s: goes on after %d samples", name, split, journal.done)
        jobs = (Job(config, sample) for sample in left)
        chunk = max(1, min(8, len(left) // (4 * workers)))
        results = ordered_map(prepare_sample, jobs, min(workers, len(left)), chunk)
        results = show_progress(results, f"prepare {name} {split}", len(left), "images")
        sha256 = _write_split(results, journal, summary, by_hash)
        splits[split] = {"count": summary.count, "sha256": sha256}
        audits.append(summary)
    result = audit.report(name, config, classes, audits)
    digest = _digest(name, config, classes, splits, result["class_frequencies"])
    result["annotation"] = reader.annotation(source)
    result["duplicates"] = audit.duplicates(by_hash)
    return digest, result


def _write_split(
    results: Iterable[Prepared],
    journal: Journal,
    summary: audit.SplitAudit,
    by_hash: dict[str, list[str]],
) -> str:
    """Stores the sound samples; returns the sha256 over names, photos and train ids."""
    content = hashlib.sha256()
    for sample in chain(journal.replay(), _noted(results, journal)):
        summary.add(sample)
        if sample.problem is None:
            line = f"{sample.name} {sample.size} {sample.image_sha256} {sample.label_sha256}\n"
            content.update(line.encode())
            by_hash[sample.image_sha256].append(f"{summary.name}/{sample.name}")
    summary.bytes = journal.writer.ends()
    journal.close()
    return content.hexdigest()


def _noted(results: Iterable[Prepared], journal: Journal) -> Iterator[Prepared]:
    for sample in results:
        journal.add(sample)
        yield sample


def _classes(config: DatasetConfig, source: Source) -> list[str]:
    if config.task == "segmentation":
        names = list(labels.of(config).names)
    else:
        names = find_reader(config).classes(source)
    if len(names) != config.num_classes:
        where = config.labels or source.describe()
        raise ValueError(f"{where}: {len(names)} classes, num_classes says {config.num_classes}")
    return names


def _colors(config: DatasetConfig) -> tuple[tuple[int, int, int], ...]:
    return labels.of(config).colors if config.task == "segmentation" else ()


def _digest(
    name: str,
    config: DatasetConfig,
    classes: list[str],
    splits: dict[str, dict[str, Any]],
    class_frequencies: list[float],
) -> dict[str, Any]:
    coding = labels.of(config) if config.task == "segmentation" else None
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
        "class_frequencies": class_frequencies,
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
        return f"{len(faults)} unusable samples (quarantine_limit {limit}): {first}"
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
        thumbnails.write_sheet(Store(folder, split), sheet)


def _key(config: DatasetConfig, record: dict[str, Any], code: str) -> str:
    """What must be equal for interrupted work to be continued."""
    table = labels.of(config) if config.task == "segmentation" else None
    text = f"{dump(config)}{json.dumps(record, sort_keys=True)}{code}{table}"
    return hashlib.sha256(text.encode()).hexdigest()


def _work_folder(output: Path, key: str) -> Path:
    """The folder that becomes `output`: with what an interrupted prepare had done, or empty.

    An old store that lost its name when a prepare was killed gets it back.
    """
    folder, old = output.with_name(f".{output.name}.tmp"), _old(output)
    if old.exists() and not output.exists():
        os.replace(old, output)
    shutil.rmtree(old, ignore_errors=True)
    if not (folder / "key").exists() or (folder / "key").read_text() != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_atomic(folder / "key", key)
    return folder


def _old(output: Path) -> Path:
    return output.with_name(f".{output.name}.old")


def _replace(folder: Path, output: Path) -> None:
    for path in (folder / "key", *folder.glob("*.journal")):
        path.unlink()
    old = _old(output)
    if output.exists():
        os.replace(output, old)
    os.replace(folder, output)
    shutil.rmtree(old, ignore_errors=True)
