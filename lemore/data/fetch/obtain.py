"""The archives of a dataset: found in place, taken from a mirror, or downloaded; always checked."""

import logging
import math
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lemore.config.dataset import Archive, DatasetConfig
from lemore.config.placed import Placed, find_archive, find_placed, read_hashes
from lemore.data.archives.members import list_members
from lemore.data.archives.source import hash_listing, make_entry, make_record
from lemore.data.fetch.download import FetchError, check_archive, download
from lemore.data.fetch.session import has_account, open_session
from lemore.runtime.files import key_of, read_json
from lemore.runtime.hashes import Hashes, hash_files, stamp_files
from lemore.runtime.lock import hold_lock

log = logging.getLogger(__name__)


def obtain_archives(
    name: str, config: DatasetConfig, archives_dir: Path, mirrors: list[str], previous: Path
) -> tuple[dict[str, Any], Hashes]:
    """Returns what `lemore prepare` reads, and the hash of each file:

    {dataset, archives: [{file, path, bytes, sha256}], sha256}, or for an unpacked folder, which is
    taken in place, {dataset, folder, archives: [], listing, sha256}, where `listing` is the hash of
    names and sizes, and `sha256` that of the content. `previous`: the JSON of an earlier fetch,
    whose hashes hold where none are published. ValueError if a file must be placed by hand,
    FetchError if no place has it.
    """
    if drawn := _find_scenes(config, mirrors):
        entries = [_check_in_place(drawn / a.file, a) for a in config.archives]
        return make_record(name, entries), {}
    placed = find_placed(name, config, archives_dir)
    if placed.unpacked:
        return _take_unpacked(name, placed, previous)
    if not config.archives:
        raise ValueError(f"{placed.folder}: no folder of images and masks there, for '{name}'")
    earlier = read_json(previous).get("archives", []) if previous.exists() else []
    known = {entry["file"]: entry["sha256"] for entry in earlier}
    if len(placed.names) < len(config.archives):
        log.warning("%s, licence: %s", config.title, config.licence)
    entries = [
        _obtain(archive, name, config, placed.folder, mirrors) for archive in config.archives
    ]
    for archive, entry in zip(config.archives, entries, strict=True):
        seen = known.get(entry["file"])
        if archive.checksum is None and seen not in (None, entry["sha256"]):
            raise ValueError(
                f"{entry['path']}: sha256 {entry['sha256']} differs from {seen}, first seen in "
                f"{previous}; remove that file if the change is meant"
            )
    stamps = stamp_files(placed.folder, [entry["file"] for entry in entries])
    hashes = {entry["file"]: [*stamps[entry["file"]], entry["sha256"]] for entry in entries}
    return make_record(name, entries), hashes


def _take_unpacked(name: str, placed: Placed, previous: Path) -> tuple[dict[str, Any], Hashes]:
    log.info("%s: taking the unpacked folder %s", name, placed.folder)
    listing = hash_listing(list_members(placed.folder))
    hashes = hash_files(placed.folder, placed.stamp(), read_hashes(previous))
    content = listing if placed.too_many else key_of({n: row[2] for n, row in hashes.items()})
    record = {"dataset": name, "folder": str(placed.folder), "archives": []}
    return record | {"listing": listing, "sha256": content}, hashes


def _find_scenes(config: DatasetConfig, mirrors: list[str]) -> Path | None:
    """Returns the mirror in which the project has drawn this dataset. It is read there and not
    copied, so that new scenes are never hidden by an older copy."""
    for mirror in mirrors if config.scenes is not None else []:
        if all(Path(mirror, archive.file).is_file() for archive in config.archives):
            return Path(mirror)
    return None


def _obtain(
    archive: Archive, name: str, config: DatasetConfig, folder: Path, mirrors: list[str]
) -> dict[str, Any]:
    if path := find_archive(archive, folder):
        return _check_in_place(path, archive)
    with hold_lock(folder / archive.file, wait=math.inf):
        if path := find_archive(archive, folder):  # another fetch was faster
            return _check_in_place(path, archive)
        return _download_from_any(archive, name, config, folder / archive.file, mirrors)


def _check_in_place(path: Path, archive: Archive) -> dict[str, Any]:
    published = archive if path.name == archive.file else Archive(path.name, ())
    try:
        return make_entry(path, check_archive(path, published, str(path)))
    except FetchError as error:
        raise ValueError(f"{error}; remove this file and get it again") from None


def _download_from_any(
    archive: Archive, name: str, config: DatasetConfig, target: Path, mirrors: list[str]
) -> dict[str, Any]:
    wanted = " and ".join(config.login.wanted) if config.login else ""
    places = list(list_places(archive, name, mirrors))
    if config.login is not None and not has_account(config.login):
        places = [place for place in places if place not in archive.urls]
    if not places:
        remedy = config.manual or "Place it by hand."
        if wanted:
            remedy = f"Set {wanted}, or place it by hand. {remedy}"
        raise ValueError(f"{target}: not there, and it needs an account. {remedy}")
    session = open_session(config.login)
    failures: list[FetchError] = []
    for url in places:
        try:
            return make_entry(target, download(url, archive, target, session))
        except FetchError as error:
            if error.kind == "disk full":
                raise
            failures.append(error)
            log.warning("%s (%s)", error, error.kind)
    text, kind = "; ".join(map(str, failures)), failures[-1].kind
    if wanted and kind == "web page":  # a site sends it to users who are not logged in
        text += f"; the site did not accept {wanted}"
    raise FetchError(kind, f"{archive.file}: {text}")


def list_places(archive: Archive, name: str, mirrors: list[str]) -> Iterator[str]:
    """Lists the places in order: every mirror (its folder for the dataset first), the urls."""
    for mirror in mirrors:
        base = mirror.rstrip("/")
        if urllib.parse.urlsplit(base).scheme in ("http", "https"):
            file = urllib.parse.quote(archive.file)
            yield from (f"{base}/{name}/{file}", f"{base}/{file}")
            continue
        folder = Path(urllib.parse.unquote(base.removeprefix("file://")))
        for path in (folder / name / archive.file, folder / archive.file):
            if path.is_file():
                yield path.resolve().as_uri()
    yield from archive.urls
