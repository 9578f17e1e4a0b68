"""One file over HTTP or from a folder: resumed by Range, checked, renamed when whole.

Bytes go to `<name>.part`; `<name>` appears only after size and hash were right. Each failure has
its own remedy: a web page instead of the file (log in, or the address moved), a cut connection
(resume where it stopped), wrong bytes (delete, download again), a busy server (wait), a full disk
(keep the part).
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests

from lemore.config.dataset import Archive
from lemore.data.fetch.session import TIMEOUT, describe_cause
from lemore.runtime.files import is_web_page
from lemore.runtime.progress import show_progress

log = logging.getLogger(__name__)
Kind = Literal["web page", "cut", "wrong bytes", "busy", "disk full", "missing", "unreachable"]
PART, NOTE = ".part", ".part.json"  # endings of what is not yet whole
CHUNK = 1 << 20
ATTEMPTS = 5  # of one url, as long as more bytes may come
MAX_WAIT = 120  # seconds that a server may ask for
BUSY = (408, 429, 500, 502, 503, 504)


class FetchError(OSError):
    """A download that did not succeed; `kind` says what happened, `wait` how long to wait."""

    def __init__(self, kind: Kind, message: str, wait: float = 0):
        super().__init__(message)
        self.kind: Kind = kind
        self.wait = wait


def download(
    url: str, archive: Archive, target: Path, session: requests.Session, pause: float = 2.0
) -> str:
    """Fetches `url` to `target`; returns its sha256. FetchError after the last attempt.

    `pause`: seconds before the second attempt, doubled each time.
    """
    part, note = (target.with_name(target.name + end) for end in (PART, NOTE))
    target.parent.mkdir(parents=True, exist_ok=True)
    attempt = 1
    while True:
        try:
            _transfer(url, archive, part, note, session)
            sha256 = check_archive(part, archive, target.name)
            os.replace(part, target)
            return sha256
        except FetchError as error:
            if error.kind == "wrong bytes":
                part.unlink(missing_ok=True)
                note.unlink(missing_ok=True)
            attempts = {"cut": ATTEMPTS, "busy": ATTEMPTS, "wrong bytes": min(2, ATTEMPTS)}
            if attempt >= attempts.get(error.kind, 1):
                raise
            wait = min(max(pause * 2 ** (attempt - 1), error.wait), MAX_WAIT)
            attempt += 1
            log.warning("%s; attempt %d of %d in %.0f s", error, attempt, ATTEMPTS, wait)
            time.sleep(wait)


def check_archive(path: Path, archive: Archive, name: str) -> str:
    """Returns the file's sha256 if its size, hash and first bytes are right; else FetchError."""
    size = path.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        raise FetchError("wrong bytes", f"{name}: {size} bytes, expected {archive.bytes}")
    with open(path, "rb") as file:
        head = file.read(512)
    if is_web_page(head):
        raise FetchError("web page", f"{name}: a web page, not the archive")
    if not _is_plausible(path, head, name):
        raise FetchError("wrong bytes", f"{name}: not a whole file of its kind")
    kind, _, expected = (archive.checksum or "sha256:").partition(":")
    hashes = {k: hashlib.new(k, usedforsecurity=False) for k in {kind, "sha256"}}
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            for hashed in hashes.values():
                hashed.update(chunk)
    found = hashes[kind].hexdigest()
    if expected and found != expected:
        raise FetchError("wrong bytes", f"{name}: {kind} {found}, published is {expected}")
    return hashes["sha256"].hexdigest()


def _is_plausible(path: Path, head: bytes, name: str) -> bool:
    if name.endswith(".zip"):
        return zipfile.is_zipfile(path)  # finds the list of contents, which is at the end
    if name.endswith(".gz"):
        return head.startswith(b"\x1f\x8b")
    if name.endswith(".tar"):
        return head[257:262] == b"ustar" or head[:1].isalnum()
    return bool(head)


def _transfer(
    url: str, archive: Archive, part: Path, note: Path, session: requests.Session
) -> None:
    """Appends the missing bytes of `url` to `part`."""
    try:
        if urlsplit(url).scheme in ("", "file"):
            path = Path(url2pathname(urlsplit(url).path))
            if not path.is_file():
                raise FetchError("missing", f"{path}: no such file")
            with open(path, "rb") as source:
                chunks = iter(lambda: source.read(CHUNK), b"")
                _write(part, "wb", chunks, archive.file, path.stat().st_size)
        else:
            _get(url, archive, part, note, session)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        detail = f"{part.stat().st_size} bytes are there"
        raise FetchError("disk full", f"{part}: no space left on the disk ({detail})") from None


def _get(url: str, archive: Archive, part: Path, note: Path, session: requests.Session) -> None:
    """`note` records a part's origin, so that two versions are never joined."""
    try:
        origin = json.loads(note.read_text())
    except (OSError, ValueError):
        origin = {}
    start = part.stat().st_size if part.exists() and origin.get("url") == url else 0
    with _ask(session, url, start, origin.get("validator")) as response:
        if response.status_code != 206:  # the server sends it all again
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else archive.bytes
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind == "text/html" and not archive.file.endswith((".html", ".htm")):
            message = f"{url}: a web page (log in? moved?) instead of {archive.file}"
            raise FetchError("web page", message)
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        validator = "" if validator.startswith("W/") else validator
        note.write_text(json.dumps({"url": url, "validator": validator}))
        chunks = _receive(url, response, archive.file)
        _write(part, "ab" if start else "wb", chunks, archive.file, (total or start) - start)
    size = part.stat().st_size
    if total is not None and size < total:
        raise FetchError("cut", f"{url}: connection lost at {size} of {total} bytes")
    note.unlink(missing_ok=True)


def _ask(
    session: requests.Session, url: str, start: int, validator: str | None
) -> requests.Response:
    """Asks for the file from byte `start` on, or all of it if it is not what `validator` says."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and validator:
        headers["If-Range"] = validator
    try:
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except requests.ReadTimeout:
        raise FetchError("cut", f"{url}: no answer in {TIMEOUT} s") from None
    except requests.RequestException as error:
        raise FetchError("unreachable", f"{url}: {describe_cause(error)}") from None
    status = response.status_code
    if status < 400:
        return response
    response.close()
    if status == 416:  # the part is as long as the file, or longer
        raise FetchError("wrong bytes", f"{url}: the part does not fit the file")
    after = response.headers.get("Retry-After", "")
    wait = float(after) if after.isdigit() else 0
    kind = "busy" if status in BUSY else "missing"
    raise FetchError(kind, f"{url}: server says {status} {response.reason}", wait)


def _receive(url: str, response: requests.Response, name: str) -> Iterator[bytes]:
    response.raw.enforce_content_length = False  # else the bytes before a cut would be lost
    first = response.status_code != 206
    try:
        for chunk in response.iter_content(CHUNK):
            if first and is_web_page(chunk):
                raise FetchError("web page", f"{name}: the server sent a web page, not the file")
            first = False
            yield chunk
    except requests.RequestException as error:
        raise FetchError("cut", f"{url}: connection lost ({describe_cause(error)})") from None


def _write(
    part: Path, mode: Literal["wb", "ab"], chunks: Iterable[bytes], name: str, size: int
) -> None:
    """Writes chunks to `part`, `size` bytes in all (0: unknown)."""
    free = shutil.disk_usage(part.parent).free
    if size > free:
        detail = f"{size} bytes needed, {free} free"
        raise FetchError("disk full", f"{part}: no space left on the disk ({detail})")
    with open(part, mode) as file:
        for chunk in show_progress(chunks, f"fetch {name}", -(-size // CHUNK) or None, "MiB"):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
