"""Makes a store of fetched archives: maps every label once, finds and names every fault.

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
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from lemore.config.dataset import DatasetConfig
from lemore.config.labels import LabelTable, choose_color, find_table
from lemore.config.read import dump
from lemore.data.archives.blocks import QUALITY
from lemore.data.archives.members import Member
from lemore.data.archives.source import Source
from lemore.data.prepare import audit, thumbnails
from lemore.data.prepare.journal import Journal
from lemore.data.prepare.parallel import map_in_order
from lemore.data.prepare.samples import (
    BLANK,
    PreparedSample,
    RawSample,
    find_reader,
    list_categories,
    list_classes,
    list_splits,
    list_texts,
    list_unused,
    prepare_sample,
)
from lemore.data.store import Store
from lemore.runtime.files import remove_temporaries, write_atomic, write_json
from lemore.runtime.lock import hold_lock
from lemore.runtime.progress import show_progress
from lemore.runtime.provenance import list_versions

log = logging.getLogger(__name__)


def build_store(
    name: str,
    config: DatasetConfig,
    source: Source,
    output: Path,
    *,
    code: str,
    workers: int,
    allow_partial: bool,
) -> dict[str, Any]:
    """Builds the store of dataset `name` at folder `output` and returns its digest.

    `code`: version of the preparing code; work begun by another version is not continued.

    ValueError if more samples are faulty than the configuration's `quarantine_limit`, or if a count
    differs from the expected one and not `allow_partial`; the audit is then left as
    <output>.rejected.json.
    """
    table = find_table(config) if config.task == "segmentation" else None
    rejected = output.with_name(output.name + ".rejected.json")
    with hold_lock(output):
        samples = list_splits(config, source)
        key = f"{dump(config)}{json.dumps(source.record, sort_keys=True)}{code}{table}"
        key = hashlib.sha256(f"{key}{_hash_list(config, source, samples)}".encode()).hexdigest()
        folder = _open_folder(output, key)
        try:
            digest, result = _write_splits(name, config, table, source, samples, folder, workers)
            problem = audit.find_problem(result, allow_partial, config.quarantine_limit)
            if problem is not None:
                write_json(rejected, result)
                raise ValueError(f"{problem}; see {rejected}")
        except ValueError:
            shutil.rmtree(folder)  # the data is at fault: nothing to resume from
            raise
        origin = {"origin": source.record, "versions": list_versions()}
        write_json(folder / "audit.json", result | origin)
        write_json(folder / "digest.json", digest)
        write_json(folder / "colors.json", _list_colors(config))
        for split in config.splits:
            thumbnails.write_sheet(Store(folder, split), folder / "thumbnails" / f"{split}.jpg")
        _replace(folder, output)
    rejected.unlink(missing_ok=True)
    return digest


def _write_splits(
    name: str,
    config: DatasetConfig,
    table: LabelTable | None,
    source: Source,
    samples: dict[str, list[RawSample]],
    folder: Path,
    workers: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Writes the packs of every split; returns (digest, audit)."""
    classes = list_classes(config, source)
    audits, splits = [], {}
    by_hash: dict[str, list[str]] = defaultdict(list)
    for split in config.splits:
        summary = audit.SplitAudit(split, config, classes)
        summary.blank += sum(sample.label == BLANK for sample in samples[split])
        journal = Journal(folder, split, config.task)
        left = samples[split][journal.done :]
        if journal.done:
            log.info("%s %s: goes on after %d samples", name, split, journal.done)
        chunk = max(1, min(8, len(left) // (4 * workers)))
        # Test photos stay as they are: top-1 is then comparable with published values.
        short_side = config.short_side if split == "train" else None
        prepare = partial(prepare_sample, config, short_side=short_side)
        results = map_in_order(prepare, left, min(workers, len(left)), chunk)
        results = show_progress(results, f"prepare {name} {split}", len(left), "images")
        sha256 = _write_split(results, journal, summary, by_hash)
        splits[split] = {"count": summary.count, "sha256": sha256}
        audits.append(summary)
    unused = list_unused(config, source, samples)
    result = audit.report(name, config, classes, audits, by_hash, unused)
    result["annotation"] = find_reader(config).describe_annotation(source)
    categories = list(list_categories(config, source)) if config.task == "detection" else None
    return _make_digest(config, table, categories, splits, result), result


def _list_colors(config: DatasetConfig) -> Sequence[tuple[int, int, int]]:
    """Display colours by train id; none for classification."""
    if config.task == "classification":
        return ()
    if config.labels is None and config.task == "detection":
        return [choose_color(k) for k in range(config.num_classes)]
    return find_table(config).colors


def _write_split(
    results: Iterable[PreparedSample],
    journal: Journal,
    summary: audit.SplitAudit,
    by_hash: dict[str, list[str]],
) -> str:
    """Stores the sound samples; returns the sha256 over names, photos and train ids."""
    content = hashlib.sha256()
    for sample in chain(journal.read_done(), map(journal.add, results)):
        summary.add(sample)
        if sample.problem is None:
            line = f"{sample.name} {sample.size} {sample.image_sha256} {sample.label_sha256}\n"
            content.update(line.encode())
            by_hash[sample.image_sha256].append(f"{summary.name}/{sample.name}")
    summary.bytes = journal.writer.ends
    journal.close()
    return content.hexdigest()


def _make_digest(
    config: DatasetConfig,
    table: LabelTable | None,
    categories: list[int] | None,
    splits: dict[str, dict[str, Any]],
    result: dict[str, Any],
) -> dict[str, Any]:
    facts = {name: result[name] for name in ("task", "num_classes", "classes")}
    coding = [table.ids, table.train_ids] if table else categories
    hashed = facts | {"splits": splits, "coding": coding}
    if config.short_side is not None:
        hashed |= {"short_side": config.short_side, "quality": QUALITY}
    return {
        "dataset": result["dataset"],
        **facts,
        **({"category_ids": categories} if categories else {}),
        "class_frequencies": result["class_frequencies"],
        "splits": splits,
        "source": "scenes" if config.scenes is not None else "archives",
        "stands_for": config.stands_for,
        "sha256": hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest(),
    }


def _hash_list(config: DatasetConfig, source: Source, samples: dict[str, list[RawSample]]) -> str:
    """Hashes the list of the samples, with the sizes and times of the files where they lie open: a
    journal that goes on with another list would lose and double samples."""
    content = hashlib.sha256()

    def add(text: str, *parts: Any) -> None:
        content.update(text.encode())
        for member in (part for part in parts if isinstance(part, Member)):
            time = os.stat(member.place).st_mtime_ns if member.kind == "file" else 0
            content.update(f" {member.place} {member.size} {time}".encode())

    add("", *list_texts(config, source))
    for split, listed in samples.items():
        for sample in listed:
            add(f"{split} {sample.name}", sample.image, sample.label)
    return content.hexdigest()


def _open_folder(output: Path, key: str) -> Path:
    """Opens the folder that becomes `output`: it is empty, or holds the work of an interrupted
    prepare with the same key; work with another key is thrown away.

    An old store that lost its name when a prepare was killed gets it back.
    """
    folder, old = output.with_name(f".{output.name}.tmp"), _name_old(output)
    if old.exists() and not output.exists():
        os.replace(old, output)
    shutil.rmtree(old, ignore_errors=True)
    if not (folder / "key").exists() or (folder / "key").read_text() != key:
        if list(folder.glob("*.journal")):
            log.warning(
                "%s: an interrupted prepare had other files, settings or code; it starts anew",
                output,
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_atomic(folder / "key", key)
    remove_temporaries(folder)
    return folder


def _name_old(output: Path) -> Path:
    return output.with_name(f".{output.name}.old")


def _replace(folder: Path, output: Path) -> None:
    for path in (folder / "key", *folder.glob("*.journal")):
        path.unlink()
    old = _name_old(output)
    if output.exists():
        os.replace(output, old)
    os.replace(folder, output)
    shutil.rmtree(old, ignore_errors=True)
