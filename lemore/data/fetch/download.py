"""One file over HTTP or from a folder: resumed by Range, checked, renamed when whole.

Bytes go to `<name>.part`; `<name>` appears only after size and hash were right. What can go wrong
is told apart, since each asks for something else: a web page instead of the file (log in, or the
address moved), a cut connection (goes on where it stopped), wrong bytes (thrown away, once more),
a busy server (waits), a full disk (the part is kept).
"""

import errno
import hashlib
import http.client
import json
import logging
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lemore.config.dataset import Archive
from lemore.runtime.progress import show_progress

log = logging.getLogger(__name__)
Kind = Literal["web page", "cut", "wrong bytes", "busy", "disk full", "missing", "unreachable"]
CHUNK = 1 << 20
TIMEOUT = 60  # seconds without a byte
ATTEMPTS = 5  # of one url, as long as more bytes may come
MAX_WAIT = 120  # seconds that a server may ask for


class FetchError(OSError):
    """A download that did not succeed; `kind` says what happened."""

    def __init__(self, kind: Kind, message: str, wait: float = 0):
        super().__init__(message)
        self.kind: Kind = kind
        self.wait = wait


def download(
    url: str,
    archive: Archive,
    target: Path,
    session: urllib.request.OpenerDirector,
    pause: float = 2.0,
) -> str:
    """Fetches `url` to `target`; returns its sha256. FetchError after the last attempt.

    `session` opens urls (`lemore.data.fetch.session`). `pause`: seconds before the second attempt,
    doubled each time.
    """
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _transfer(url, archive, part, session)
            sha256 = check(part, archive, target.name)
            os.replace(part, target)
            return sha256
        except FetchError as error:
            if error.kind == "wrong bytes":
                _discard(part)
            if error.kind not in ("cut", "busy", "wrong bytes") or attempt == ATTEMPTS:
                raise
            if error.kind == "wrong bytes" and attempt > 1:
                raise
            wait = min(max(pause * 2 ** (attempt - 1), error.wait), MAX_WAIT)
            log.warning("%s; attempt %d of %d in %.0f s", error, attempt + 1, ATTEMPTS, wait)
            time.sleep(wait)
    raise AssertionError("unreachable")


def check(path: Path, archive: Archive, name: str) -> str:
    """The file's sha256, if its size, hash and first bytes are right; else FetchError."""
    size = path.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        raise FetchError("wrong bytes", f"{name}: {size} bytes, expected {archive.bytes}")
    with open(path, "rb") as file:
        head = file.read(512)
    if is_web_page(head):
        raise FetchError("web page", f"{name}: a web page, not the archive")
    if not _plausible(path, head, name):
        raise FetchError("wrong bytes", f"{name}: not a whole file of its kind")
    kind, _, expected = (archive.checksum or "sha256:").partition(":")
    sha256, found = _hashes(path, kind)
    if expected and found != expected:
        raise FetchError("wrong bytes", f"{name}: {kind} {found}, published is {expected}")
    return sha256


def is_web_page(head: bytes) -> bool:
    start = head.lstrip().lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))


def _plausible(path: Path, head: bytes, name: str) -> bool:
    if name.endswith(".zip"):
        return zipfile.is_zipfile(path)  # finds the list of contents, which is at the end
    if name.endswith(".gz"):
        return head.startswith(b"\x1f\x8b")
    if name.endswith(".tar"):
        return head[257:262] == b"ustar" or head[:1].isalnum()
    return bool(head)


def _hashes(path: Path, kind: str) -> tuple[str, str]:
    """(sha256, hash of `kind`) of a file, read once."""
    sha256, other = hashlib.sha256(), hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            sha256.update(chunk)
            if kind != "sha256":
                other.update(chunk)
    return sha256.hexdigest(), sha256.hexdigest() if kind == "sha256" else other.hexdigest()


def _transfer(
    url: str, archive: Archive, part: Path, session: urllib.request.OpenerDirector
) -> None:
    """Appends what is missing of `url` to `part`."""
    try:
        if urllib.parse.urlsplit(url).scheme in ("", "file"):
            _copy(url, archive, part)
        else:
            _get(url, archive, part, session)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(part, f"{part.stat().st_size} bytes are there") from None
        raise


def _copy(url: str, archive: Archive, part: Path) -> None:
    path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
    if not path.is_file():
        raise FetchError("missing", f"{path}: no such file")
    _require_space(part, path.stat().st_size)
    with open(path, "rb") as source, open(part, "wb") as file:
        _write(iter(lambda: source.read(CHUNK), b""), file, archive.file, path.stat().st_size)


def _get(url: str, archive: Archive, part: Path, session: urllib.request.OpenerDirector) -> None:
    start = _resume_point(url, part)
    try:
        with _open(session, url, start, _note(part).get("validator")) as response:
            start = start if response.status == 206 else 0  # 200: the server sends it all again
            length = response.headers.get("Content-Length")
            total = start + int(length) if length is not None else archive.bytes
            _refuse_page(url, response, archive.file)
            _require_space(part, (total or 0) - start)
            _write_note(url, part, response)
            chunks = _received(response, archive.file)
            with open(part, "ab" if start else "wb") as file:
                _write(chunks, file, archive.file, (total or start) - start)
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise FetchError("cut", f"{url}: connection lost ({error!r})") from None
    size = part.stat().st_size
    if total is not None and size < total:
        raise FetchError("cut", f"{url}: connection lost at {size} of {total} bytes")
    _note_path(part).unlink(missing_ok=True)


def _open(
    session: urllib.request.OpenerDirector, url: str, start: int, validator: str | None
) -> Any:
    request = urllib.request.Request(url)
    if start:
        request.add_header("Range", f"bytes={start}-")
        if validator:
            request.add_header("If-Range", validator)
    try:
        return session.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is as long as the file, or longer
            raise FetchError("wrong bytes", f"{url}: the part does not fit the file") from None
        if error.code in (408, 429, 500, 502, 503, 504):
            after = error.headers.get("Retry-After", "")
            wait = float(after) if after.isdigit() else 0.0
            raise FetchError(
                "busy", f"{url}: server says {error.code} {error.reason}", wait
            ) from None
        raise FetchError("missing", f"{url}: server says {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise FetchError("unreachable", f"{url}: {error.reason}") from None


def _received(response: Any, name: str) -> Iterator[bytes]:
    first = True
    while chunk := response.read(CHUNK):
        if first and response.status != 206 and is_web_page(chunk[:512]):
            raise FetchError("web page", f"{name}: the server sent a web page, not the file")
        first = False
        yield chunk


def _refuse_page(url: str, response: Any, name: str) -> None:
    if response.headers.get_content_type() == "text/html" and not name.endswith((".html", ".htm")):
        raise FetchError("web page", f"{url}: a web page (log in? moved?) instead of {name}")


def _write(chunks: Iterator[bytes], file: Any, name: str, size: int) -> None:
    total = -(-size // CHUNK) or None
    for chunk in show_progress(chunks, f"fetch {name}", total, "MiB"):
        file.write(chunk)
    file.flush()
    os.fsync(file.fileno())


def _require_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise _disk_full(part, f"{needed} bytes needed, {free} free")


def _disk_full(part: Path, detail: str) -> FetchError:
    return FetchError("disk full", f"{part}: no space left on the disk ({detail})")


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _note(part: Path) -> dict[str, str]:
    try:
        return json.loads(_note_path(part).read_text())
    except (OSError, ValueError):
        return {}


def _write_note(url: str, part: Path, response: Any) -> None:
    """Remembers where a part comes from, so that two versions are never spliced together."""
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    validator = "" if validator.startswith("W/") else validator
    _note_path(part).write_text(json.dumps({"url": url, "validator": validator}))


def _resume_point(url: str, part: Path) -> int:
    """Bytes of `part` that can be kept: all if they came from the same url, else none."""
    if not part.exists() or _note(part).get("url") != url:
        return 0
    return part.stat().st_size


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_path(part).unlink(missing_ok=True)
