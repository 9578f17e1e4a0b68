"""What was fetched for one dataset, as one set of files: archives, or a folder unpacked by hand."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lemore.data.archives.archives import Member, members
from lemore.runtime.files import read_json


class Source:
    """Files by name, from several archives or folders; a reader picks what it knows.

    The listing is made once, at the first question, since the largest archive holds a thousand
    tars.
    """

    def __init__(self, paths: tuple[Path, ...]):
        self.paths = paths
        self._listing: list[Member] | None = None

    def __iter__(self) -> Iterator[Member]:
        if self._listing is None:
            self._listing = [member for path in self.paths for member in members(path)]
        return iter(self._listing)

    def match(self, pattern: str) -> dict[str, Member]:
        """Files whose path ends like `pattern`, by the pattern's first group.

        `images/val/(.+)\\.jpg` finds any/folder/images/val/x.jpg as 'x'. ValueError if two files
        answer to one name (say, the same archive beside its unpacked folder).
        """
        regex = re.compile(rf"(?:^|.*/){pattern}$")
        found: dict[str, Member] = {}
        for member in self:
            match = regex.match(member.name)
            if match is None:
                continue
            if match[1] in found:
                first = found[match[1]].place
                raise ValueError(f"two files for '{match[1]}': {first} and {member.place}")
            found[match[1]] = member
        return found

    def one(self, pattern: str) -> Member | None:
        """The single file that ends like `pattern` (no group needed), or None."""
        found = list(self.match(f"({pattern})").values())
        return found[0] if len(found) == 1 else None

    def describe(self) -> str:
        return ", ".join(map(str, self.paths))


def open_source(fetched: Path) -> tuple[Source, dict[str, Any]]:
    """The source that a JSON written by `lemore fetch` or `lemore scenes` names, and that JSON.

    A file that moved together with its JSON is found beside it.
    """
    record = read_json(fetched)
    if not isinstance(record, dict) or not {"dataset", "archives"} <= record.keys():
        raise ValueError(f"{fetched}: not written by `lemore fetch` or `lemore scenes`")
    if record.get("folder"):
        return Source((_existing(Path(record["folder"]), fetched),)), record
    paths = tuple(_existing(Path(entry["path"]), fetched) for entry in record["archives"])
    for path, entry in zip(paths, record["archives"], strict=True):
        if path.stat().st_size != entry["bytes"]:
            raise ValueError(
                f"{path}: {path.stat().st_size} bytes, {fetched} says {entry['bytes']}"
            )
    return Source(paths), record


def _existing(path: Path, fetched: Path) -> Path:
    for candidate in (path, fetched.parent / path.name):
        if candidate.exists():
            return candidate
    raise ValueError(f"{path}: named by {fetched} but not there; run `lemore fetch` again")
