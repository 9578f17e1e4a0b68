"""The files of one dataset, from its archives or from a folder unpacked by hand."""

import hashlib
import logging
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from lemore.data.archives.members import Member, list_members, normalize_name
from lemore.runtime.files import read_json

log = logging.getLogger(__name__)
T = TypeVar("T")


class Source:
    """Files by name, from several archives or folders; a reader picks those it knows.

    The listing is made once, when it is first needed, since the largest archive holds a thousand
    tars. `record`: the JSON that names the archives.
    """

    def __init__(self, paths: tuple[Path, ...], record: dict[str, Any] | None = None):
        self.paths, self.record = paths, record
        self._listing: list[Member] | None = None
        self._parsed: dict[Member, Any] = {}

    def __iter__(self) -> Iterator[Member]:
        if self._listing is None:
            self._listing = [member for path in self.paths for member in list_members(path)]
        return iter(self._listing)

    def match(self, pattern: str, whole: bool = False) -> dict[str, Member]:
        """Finds files whose path ends like `pattern`, by the values of the pattern's groups.

        `images/val/(.+)\\.jpg` finds any/folder/images/val/x.jpg as 'x'. Several values are joined
        by "/", those of named groups in the order of their names. With `whole` the pattern is that
        of the whole path below the dataset's folder; in an archive, folders in which all of it lies
        may come before. Names are compared in Unicode's composed form. ValueError if two files have
        one name (say, the same archive beside its unpacked folder).
        """
        starts = self._find_starts() if whole else {}
        regexes: dict[str, re.Pattern[str]] = {}
        found: dict[str, Member] = {}
        for member in self:
            if member.container not in regexes:
                start = starts.get(member.container, "(?:.*/)?")
                regexes[member.container] = re.compile(start + normalize_name(pattern))
            regex = regexes[member.container]
            if match := regex.fullmatch(posixpath.normpath(normalize_name(member.name))):
                groups = sorted(regex.groupindex) or range(1, regex.groups + 1)
                name = "/".join(match[group] for group in groups)
                if name in found:
                    raise ValueError(_describe_two(name, found[name], member))
                found[name] = member
        return found

    def find_one(self, pattern: str, whole: bool = False) -> Member | None:
        """Returns the single file that fits `pattern` (no group needed), or None."""
        found = list(self.match(f"({pattern})", whole).values())
        return found[0] if len(found) == 1 else None

    def parse_once(self, member: Member, parse: Callable[[Member], T]) -> T:
        """Returns `parse(member)`, which is kept: for files that annotate thousands of photos."""
        if member not in self._parsed:
            self._parsed[member] = parse(member)
        return self._parsed[member]

    def _find_starts(self) -> dict[str, str]:
        """Returns, for each folder or archive, the regular expression of what may come before a
        path: nothing, or in an archive the folders in which all of it lies."""
        common: dict[str, str] = {}
        for member in self:
            folder = posixpath.dirname(posixpath.normpath(normalize_name(member.name)))
            folder = "" if member.kind == "file" else folder
            common[member.container] = posixpath.commonpath(
                [common.get(member.container, folder), folder]
            )
        return {
            container: "".join(f"(?:{re.escape(part)}/" for part in parts) + ")?" * len(parts)
            for container, parts in ((c, p.split("/") if p else []) for c, p in common.items())
        }

    def describe(self) -> str:
        return ", ".join(map(str, self.paths))


def open_source(name: str, fetched: Path) -> Source:
    """Opens the archives in a JSON written by `lemore fetch` or `lemore scenes`.

    A file that moved together with its JSON is found beside it.
    """
    record = read_json(fetched)
    if not isinstance(record, dict) or not {"dataset", "archives"} <= record.keys():
        raise ValueError(f"{fetched}: not written by `lemore fetch` or `lemore scenes`")
    if record["dataset"] != name:
        raise ValueError(f"{fetched}: fetched for '{record['dataset']}', not for '{name}'")
    if record.get("folder"):
        return _open_folder(_find(Path(record["folder"]), fetched), fetched, record)
    paths = tuple(_find(Path(entry["path"]), fetched) for entry in record["archives"])
    for path, entry in zip(paths, record["archives"], strict=True):
        if path.stat().st_size != entry["bytes"]:
            raise ValueError(
                f"{path}: {path.stat().st_size} bytes, {fetched} says {entry['bytes']}"
            )
    return Source(paths, record)


def _open_folder(folder: Path, fetched: Path, record: dict[str, Any]) -> Source:
    """Opens an unpacked folder; a warning says if it has other files now than when it was fetched,
    and the record of the source is then that of the files now."""
    source = Source((folder,), record)
    listing = hash_listing(source)
    if record.get("listing", listing) != listing:
        log.warning(
            "%s: has other files than %s records; those there now are taken", folder, fetched
        )
        source.record = record | {"listing": listing, "sha256": listing}
    return source


def make_entry(path: Path, sha256: str) -> dict[str, Any]:
    """Describes an archive in the JSON that `open_source` reads."""
    size = path.stat().st_size
    return {"file": path.name, "path": str(path), "bytes": size, "sha256": sha256}


def make_record(name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Makes that JSON for a dataset's archives, with one hash over their names and hashes."""
    lines = "".join(f"{entry['file']} {entry['sha256']}\n" for entry in entries)
    sha256 = hashlib.sha256(lines.encode()).hexdigest()
    return {"dataset": name, "archives": entries, "sha256": sha256}


def _describe_two(name: str, first: Member, second: Member) -> str:
    alike = normalize_name(first.name) == normalize_name(second.name)
    note = " (their names differ in their Unicode form alone)" if alike else ""
    return f"two files for '{name}': {first.place} and {second.place}{note}; one must go"


def hash_listing(members: Iterable[Member]) -> str:
    """Returns one hash over names and sizes, by which a folder that has changed is noticed."""
    lines = "".join(f"{member.name} {member.size}\n" for member in members)
    return hashlib.sha256(lines.encode()).hexdigest()


def _find(path: Path, fetched: Path) -> Path:
    for candidate in (path, fetched.parent / path.name):
        if candidate.exists():
            return candidate
    raise ValueError(f"{path}: named by {fetched} but not there; run `lemore fetch` again")
