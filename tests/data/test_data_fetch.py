"""Downloads from a local server that cuts connections, sends wrong bytes and disappears."""

import hashlib
import logging
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import requests
from local_server import QuietHandler, serve

from lemore.config.dataset import Archive, DatasetConfig
from lemore.data.fetch import download as downloads
from lemore.data.fetch.download import FetchError, download
from lemore.data.fetch.obtain import list_places, obtain_archives
from lemore.runtime.files import write_json
from lemore.scenes.archives import pack_zip

CONTENT = pack_zip([(f"{i}.bin", os.urandom(4000)) for i in range(100)])
SESSION = requests.Session()
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Handler(QuietHandler):
    """Serves CONTENT with ranges; what goes wrong is the first part of the path."""

    requests: ClassVar[list[tuple[str, str | None]]] = []
    etag = '"one"'

    def do_GET(self):
        fault = self.path.split("/")[1]
        wanted = self.headers.get("Range")
        self.requests.append((fault, wanted))
        first = sum(name == fault for name, _ in self.requests) == 1
        if fault == "page":
            return self.send_body(200, b"<html>please log in</html>", "text/html")
        if fault == "hidden_page":
            return self.send_body(200, b"  <!DOCTYPE html><html></html>", "application/zip")
        if fault == "gone":
            return self.send_body(404, b"no", "text/plain")
        if fault == "busy" and first:
            return self.send_body(503, b"later", "text/plain")
        if fault == "wrong":
            return self.send_body(200, CONTENT[:-5] + b"wrong", "application/zip")
        start = int(re.findall(r"\d+", wanted)[0]) if wanted else 0
        condition = self.headers.get("If-Range")
        if fault == "changed" and condition not in (None, '"two"'):
            start = 0  # another version since: all of it
        keep = len(CONTENT) // 2 if fault in ("cut", "changed") and first else None
        self._content(start, keep, '"two"' if fault == "changed" and not first else self.etag)
        return None

    def _content(self, start: int, keep: int | None, etag: str) -> None:
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.send_header("Content-Type", "application/zip")
        self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(CONTENT[start:keep])


@pytest.fixture
def server():
    Handler.requests = []
    with serve(Handler) as address:
        yield address


def archive(**changes) -> Archive:
    return replace(Archive("data.zip", (), len(CONTENT), SHA256), **changes)


def get(server: str, fault: str, folder: Path, **changes) -> str:
    return download(
        f"{server}/{fault}/data.zip", archive(**changes), folder / "data.zip", SESSION, pause=0
    )


def ranges(fault: str) -> list[str | None]:
    return [wanted for name, wanted in Handler.requests if name == fault]


def test_whole_file(server, tmp_path):
    assert "sha256:" + get(server, "fine", tmp_path) == SHA256
    assert (tmp_path / "data.zip").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["data.zip"]


def test_cut_connection_goes_on_where_it_stopped(server, tmp_path):
    get(server, "cut", tmp_path)
    assert (tmp_path / "data.zip").read_bytes() == CONTENT
    assert ranges("cut") == [None, f"bytes={len(CONTENT) // 2}-"]


def test_killed_fetch_goes_on_in_the_next_one(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    with pytest.raises(FetchError, match="connection lost"):
        get(server, "cut", tmp_path)
    assert not (tmp_path / "data.zip").exists()
    get(server, "cut", tmp_path)
    assert (tmp_path / "data.zip").read_bytes() == CONTENT
    assert ranges("cut")[1] == f"bytes={len(CONTENT) // 2}-"


def test_two_versions_are_never_spliced(server, tmp_path):
    get(server, "changed", tmp_path, checksum=None)
    assert (tmp_path / "data.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("page", "web page"),
        ("hidden_page", "web page"),
        ("wrong", "wrong bytes"),
        ("gone", "missing"),
    ],
)
def test_faults_are_told_apart_and_leave_nothing_behind(server, tmp_path, fault, kind):
    with pytest.raises(FetchError) as caught:
        get(server, fault, tmp_path)
    assert caught.value.kind == kind
    assert not (tmp_path / "data.zip").exists()


def test_busy_server_is_asked_again(server, tmp_path):
    get(server, "busy", tmp_path)
    assert len(ranges("busy")) == 2


def test_full_disk_keeps_the_part(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(FetchError, match="no space left") as caught:
        get(server, "fine", tmp_path)
    assert caught.value.kind == "disk full"


def test_no_server(tmp_path):
    with pytest.raises(FetchError) as caught:
        get("http://127.0.0.1:9", "fine", tmp_path)
    assert caught.value.kind == "unreachable"


def config(**changes) -> DatasetConfig:
    values = {
        "title": "Test",
        "task": "segmentation",
        "reader": "ade20k",
        "labels": "ade20k",
        "num_classes": 150,
        "stands_for": None,
        "scenes": None,
        "archives": (archive(),),
        "licence": "for nothing but tests",
        "splits": {"train": 1},
    }
    return DatasetConfig(**values | changes)


def run(folder: Path, mirrors: list[str], **changes):
    record, _ = obtain_archives(
        "test", config(**changes), folder / "archives", mirrors, folder / "out.json"
    )
    return record


def test_mirrors_come_first_and_in_order(server, tmp_path):
    urls = (f"{server}/url/data.zip",)
    found = list(list_places(archive(urls=urls), "test", [f"{server}/a/", str(tmp_path)]))
    assert found == [f"{server}/a/test/data.zip", f"{server}/a/data.zip", *urls]
    (tmp_path / "data.zip").write_bytes(CONTENT)
    for mirror in (str(tmp_path), tmp_path.as_uri()):
        found = list(list_places(archive(urls=urls), "test", [mirror]))
        assert found == [(tmp_path / "data.zip").as_uri(), *urls]


def test_from_a_folder_then_in_place(tmp_path, caplog):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/data.zip").write_bytes(CONTENT)
    with caplog.at_level(logging.WARNING):
        first = run(tmp_path, [str(tmp_path / "mirror")])
    assert "for nothing but tests" in caplog.text
    (entry,) = first["archives"]
    assert entry["path"] == str(tmp_path / "archives/test/data.zip")
    assert (entry["bytes"], "sha256:" + entry["sha256"]) == (len(CONTENT), SHA256)
    assert run(tmp_path, []) == first


def test_next_url_when_the_first_fails(server, tmp_path):
    urls = (f"{server}/gone/data.zip", f"{server}/fine/data.zip")
    run(tmp_path, [], archives=(archive(urls=urls),))
    with pytest.raises(FetchError, match="404"):
        obtain_archives(
            "other", config(archives=(archive(urls=urls[:1]),)), tmp_path, [], tmp_path / "x"
        )


def test_wrong_file_placed_by_hand_is_refused(tmp_path):
    folder = tmp_path / "archives/test"
    folder.mkdir(parents=True)
    (folder / "data.zip").write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"data\.zip: .* bytes, expected"):
        run(tmp_path, [])
    unknown = (archive(bytes=None, checksum=None),)
    with pytest.raises(ValueError, match="not a whole file"):
        run(tmp_path, [], archives=unknown)


def test_unpacked_read_only_folder_is_taken_in_place(tmp_path):
    folder = tmp_path / "archives/test"
    (folder / "images").mkdir(parents=True)
    (folder / "images/x.jpg").write_bytes(b"x")
    for path in (folder / "images", folder):
        path.chmod(0o555)
    found = run(tmp_path, [])
    assert (found["folder"], found["archives"]) == (str(folder), [])
    for path in (folder, folder / "images"):
        path.chmod(0o755)


def test_without_account_it_says_what_to_place(tmp_path):
    with pytest.raises(ValueError, match=r"archives/test/data\.zip: not there.*Register at"):
        run(tmp_path, [], manual="Register at example.org")


def test_first_seen_hash_holds_where_none_is_published(tmp_path):
    folder = tmp_path / "archives/test"
    folder.mkdir(parents=True)
    unknown = (archive(bytes=None, checksum=None),)
    (folder / "data.zip").write_bytes(CONTENT)
    record = run(tmp_path, [], archives=unknown)
    write_json(tmp_path / "out.json", record)
    (folder / "data.zip").write_bytes(pack_zip([("other", b"other")]))
    with pytest.raises(ValueError, match="first seen"):
        run(tmp_path, [], archives=unknown)
