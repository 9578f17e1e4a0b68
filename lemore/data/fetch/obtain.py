"""The archives of a dataset: found in place, taken from a mirror, or downloaded; always checked."""

import hashlib
import logging
import math
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lemore.config.dataset import Archive, DatasetConfig
from lemore.data.archives.members import is_junk, list_members
from lemore.data.archives.source import make_entry, make_record
from lemore.data.fetch.download import FetchError, check_archive, download
from lemore.data.fetch.session import has_account, open_session
from lemore.runtime.files import read_json
from lemore.runtime.lock import hold_lock

log = logging.getLogger(__name__)


def obtain_archives(
    name: str, config: DatasetConfig, archives_dir: Path, mirrors: list[str], previous: Path
) -> dict[str, Any]:
    """Returns what `lemore prepare` reads: {dataset, archives: [{file, path, bytes, sha256}],
    sha256}.

    An unpacked folder is taken in place: {dataset, folder, archives: [], sha256 of its listing}.
    `previous`: the JSON of an earlier fetch, whose hashes hold where none are published.
    ValueError if a file must be placed by hand, FetchError if no place has it.
    """
    if drawn := _find_scenes(config, mirrors):
        return make_record(name, [_check_in_place(drawn / a.file, a) for a in config.archives])
    folder = find_folder(name, config, archives_dir)
    if _is_unpacked(folder, config):
        log.info("%s: taking the unpacked folder %s", name, folder)
        # Names and sizes only: prepare reads the content anyway, and digests it.
        listing = "".join(f"{member.name} {member.size}\n" for member in list_members(folder))
        sha256 = hashlib.sha256(listing.encode()).hexdigest()
        return {"dataset": name, "folder": str(folder), "archives": [], "sha256": sha256}
    if not config.archives:
        raise ValueError(f"{folder}: no folder of images and masks there, for dataset '{name}'")
    earlier = read_json(previous).get("archives", []) if previous.exists() else []
    known = {entry["file"]: entry["sha256"] for entry in earlier}
    if not all(_find_placed(archive, folder) for archive in config.archives):
        log.warning("%s, licence: %s", config.title, config.licence)
    entries = [_obtain(archive, name, config, folder, mirrors) for archive in config.archives]
    for archive, entry in zip(config.archives, entries, strict=True):
        seen = known.get(entry["file"])
        if archive.checksum is None and seen not in (None, entry["sha256"]):
            raise ValueError(
                f"{entry['path']}: sha256 {entry['sha256']} differs from {seen}, first seen in "
                f"{previous}; remove that file if the change is meant"
            )
    return make_record(name, entries)


def find_folder(name: str, config: DatasetConfig, archives_dir: Path) -> Path:
    """Returns `folder`, or ARCHIVES_DIR/<dataset>, or the folder it shares unless that exists."""
    if config.folder is not None:
        return Path(config.folder).expanduser()
    own = archives_dir / name
    return own if own.is_dir() else archives_dir / (config.archives_folder or name)


def _find_scenes(config: DatasetConfig, mirrors: list[str]) -> Path | None:
    """Returns the mirror in which the project has drawn this dataset. It is read there and not
    copied, so that new scenes are never hidden by an older copy."""
    for mirror in mirrors if config.scenes is not None else []:
        if all(Path(mirror, archive.file).is_file() for archive in config.archives):
            return Path(mirror)
    return None


def _is_unpacked(folder: Path, config: DatasetConfig) -> bool:
    """Returns whether the folder holds the dataset's folders rather than its archives."""
    if not folder.is_dir():
        return False
    if config.archives and all(_find_placed(archive, folder) for archive in config.archives):
        return False
    visible = (path for path in folder.iterdir() if not is_junk(path.name))
    return any(path.is_dir() or not config.archives for path in visible)


def _find_placed(archive: Archive, folder: Path) -> Path | None:
    """Returns the archive, or a file that serves as well, if it lies in the folder."""
    for file in (archive.file, *archive.instead):
        if (folder / file).is_file():
            return folder / file
    return None


def _obtain(
    archive: Archive, name: str, config: DatasetConfig, folder: Path, mirrors: list[str]
) -> dict[str, Any]:
    if path := _find_placed(archive, folder):
        return _check_in_place(path, archive)
    with hold_lock(folder / archive.file, wait=math.inf):
        if path := _find_placed(archive, folder):  # another fetch was faster
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
