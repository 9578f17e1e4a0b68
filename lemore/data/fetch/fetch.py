"""The archives of a dataset: found in place, taken from a mirror, or downloaded; always checked."""

import hashlib
import logging
import math
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lemore.config.dataset import Archive, DatasetConfig
from lemore.data.archives.archives import members
from lemore.data.fetch.download import FetchError, check, download
from lemore.data.fetch.session import has_account, open_session
from lemore.runtime.files import read_json
from lemore.runtime.lock import hold_lock

log = logging.getLogger(__name__)


def fetch(
    name: str, config: DatasetConfig, archives_dir: Path, mirrors: list[str], previous: Path
) -> dict[str, Any]:
    """What `lemore prepare` reads: {dataset, archives: [{file, path, bytes, sha256}], sha256}.

    An unpacked folder is taken in place: {dataset, folder, archives: [], sha256 of its listing}.
    `previous`: the JSON of an earlier fetch; where nobody publishes a hash, its hashes hold.
    ValueError if a file must be placed by hand, FetchError if it cannot be had.
    """
    if drawn := _drawn_folder(config, mirrors):
        return summary(name, [_checked_in_place(drawn / a.file, a) for a in config.archives])
    folder = dataset_folder(name, config, archives_dir)
    if is_unpacked(folder, config):
        log.info("%s: taking the unpacked folder %s", name, folder)
        sha256 = _listing_sha256(folder)
        return {"dataset": name, "folder": str(folder), "archives": [], "sha256": sha256}
    if not config.archives:
        raise ValueError(f"{folder}: no folder of images and masks there, for dataset '{name}'")
    known = _known_hashes(previous)
    if not all(_placed(archive, folder) for archive in config.archives):
        log.warning("%s, licence: %s", config.title, config.licence)
    records = [_obtain(archive, name, config, folder, mirrors) for archive in config.archives]
    for archive, entry in zip(config.archives, records, strict=True):
        seen = known.get(entry["file"])
        if archive.checksum is None and seen not in (None, entry["sha256"]):
            raise ValueError(
                f"{entry['path']}: sha256 {entry['sha256']} differs from {seen}, first seen in "
                f"{previous}; remove that file if the change is meant"
            )
    return summary(name, records)


def record(path: Path, sha256: str) -> dict[str, Any]:
    """How an archive is written down."""
    size = path.stat().st_size
    return {"file": path.name, "path": str(path), "bytes": size, "sha256": sha256}


def summary(name: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """The archives of a dataset with one hash over names and hashes."""
    lines = "".join(f"{entry['file']} {entry['sha256']}\n" for entry in records)
    sha256 = hashlib.sha256(lines.encode()).hexdigest()
    return {"dataset": name, "archives": records, "sha256": sha256}


def dataset_folder(name: str, config: DatasetConfig, archives_dir: Path) -> Path:
    """`folder`, or ARCHIVES_DIR/<dataset>, or the folder it shares unless that one exists."""
    if config.folder is not None:
        return Path(config.folder).expanduser()
    own = archives_dir / name
    shared = archives_dir / (config.archives_folder or name)
    return own if own.is_dir() else shared


def _drawn_folder(config: DatasetConfig, mirrors: list[str]) -> Path | None:
    """The folder where the project drew this dataset, if a mirror is one: read there and not
    copied, so that scenes drawn anew are never hidden by an older copy."""
    for mirror in mirrors if config.scenes is not None else []:
        folder = Path(mirror)
        if all((folder / archive.file).is_file() for archive in config.archives):
            return folder
    return None


def is_unpacked(folder: Path, config: DatasetConfig) -> bool:
    """Whether the folder holds the dataset's folders rather than its archives."""
    if not folder.is_dir():
        return False
    if config.archives and all(_placed(archive, folder) for archive in config.archives):
        return False
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return any(path.is_dir() or not config.archives for path in visible)


def _placed(archive: Archive, folder: Path) -> Path | None:
    """The archive, or another file that serves as well, if it lies in the folder."""
    for file in (archive.file, *archive.instead):
        if (folder / file).is_file():
            return folder / file
    return None


def _obtain(
    archive: Archive, name: str, config: DatasetConfig, folder: Path, mirrors: list[str]
) -> dict[str, Any]:
    if path := _placed(archive, folder):
        return _checked_in_place(path, archive)
    with hold_lock(folder / archive.file, wait=math.inf):
        if path := _placed(archive, folder):  # another fetch was faster
            return _checked_in_place(path, archive)
        return _download_from_any(archive, name, config, folder, mirrors)


def _checked_in_place(path: Path, archive: Archive) -> dict[str, Any]:
    published = archive if path.name == archive.file else Archive(path.name, ())
    try:
        sha256 = check(path, published, str(path))
    except FetchError as error:
        raise ValueError(f"{error}; remove this file and get it again") from None
    return record(path, sha256)


def _download_from_any(
    archive: Archive, name: str, config: DatasetConfig, folder: Path, mirrors: list[str]
) -> dict[str, Any]:
    target = folder / archive.file
    places = list(candidates(archive, name, mirrors))
    without = config.login is not None and not has_account(config.login)
    if without or not archive.urls:
        places = [place for place in places if place not in archive.urls]
    if not places:
        raise ValueError(f"{target}: not there, and it needs an account. {_remedy(config)}")
    session = open_session(config.login)
    failures: list[FetchError] = []
    for url in places:
        try:
            return record(target, download(url, archive, target, session))
        except FetchError as error:
            if error.kind == "disk full":
                raise
            failures.append(error)
            log.warning("%s (%s)", error, error.kind)
    text = "; ".join(map(str, failures))
    raise FetchError(failures[-1].kind, f"{archive.file}: {text}{_check_account(config, failures)}")


def _remedy(config: DatasetConfig) -> str:
    manual = config.manual or "Place it by hand."
    if config.login is None:
        return manual
    return f"Set {' and '.join(config.login.wanted)}, or place it by hand. {manual}"


def _check_account(config: DatasetConfig, failures: list[FetchError]) -> str:
    """A site sends a page to those whom it does not know."""
    if config.login is None or failures[-1].kind != "web page":
        return ""
    return f"; the site did not accept {' and '.join(config.login.wanted)}"


def candidates(archive: Archive, name: str, mirrors: list[str]) -> Iterator[str]:
    """Where to look, in order: every mirror (its folder for the dataset first), then the urls."""
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


def _known_hashes(previous: Path) -> dict[str, str]:
    if not previous.exists():
        return {}
    return {entry["file"]: entry["sha256"] for entry in read_json(previous).get("archives", [])}


def _listing_sha256(folder: Path) -> str:
    """Names and sizes only: prepare reads the content anyway, and digests it."""
    listing = "".join(f"{member.name} {member.size}\n" for member in members(folder))
    return hashlib.sha256(listing.encode()).hexdigest()
