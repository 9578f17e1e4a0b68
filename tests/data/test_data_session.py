"""Accounts: each secret is sent to its site only, and none is shown or kept."""

import logging
import urllib.parse
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from local_server import QuietHandler, serve

from lemore.config.dataset import Archive, DatasetConfig, Login
from lemore.config.read import load
from lemore.data.fetch.obtain import obtain_archives
from lemore.scenes.archives import pack_zip

ROOT = Path(__file__).parents[2]
CONTENT = pack_zip([("a.txt", b"content")])
SECRET, TOKEN = "pass&word=1", "session-7f3a"


class Site(QuietHandler):
    """Gives /data.zip to those who logged in, a page to others; /away leads to another host."""

    seen: ClassVar[list[tuple[str, str | None]]] = []  # host, cookies of each request

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        form = urllib.parse.parse_qs(self.rfile.read(length).decode())
        known = form == {"username": ["me@x.org"], "password": [SECRET], "submit": ["Login"]}
        self.send_response(302)
        self.send_header("Location", "/home")
        if known:
            self.send_header("Set-Cookie", f"PHPSESSID={TOKEN}; path=/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        host, cookies = self.headers["Host"].split(":")[0], self.headers.get("Cookie")
        self.seen.append((host, cookies))
        if self.path == "/away/data.zip":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/open.zip")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        given = self.path == "/open.zip" or TOKEN in (cookies or "")
        body = CONTENT if given and self.path != "/home" else b"<html>please log in</html>"
        self.send_body(200, body, "application/zip" if body == CONTENT else "text/html")


@pytest.fixture
def site(monkeypatch):
    Site.seen = []
    for name in ("SITE_USER", "SITE_PASSWORD", "SITE_COOKIE"):
        monkeypatch.delenv(name, raising=False)
    with serve(Site) as address:
        yield address


def form(site: str) -> Login:
    variables = {"username": "SITE_USER", "password": "SITE_PASSWORD"}
    return Login(f"{site}/login/", {"submit": "Login"}, variables)


def get(site: str, login: Login, folder: Path, path: str = "data.zip") -> bytes:
    config = load(DatasetConfig, ROOT / "config/datasets/cityscapes.yaml")
    archives = (Archive("data.zip", (f"{site}/{path}",)),)
    config = replace(config, archives=archives, login=login)
    obtain_archives("cityscapes", config, folder / "archives", [], folder / "fetched.json")
    return (folder / "archives/cityscapes/data.zip").read_bytes()


def log_in(monkeypatch, password: str = SECRET) -> None:
    monkeypatch.setenv("SITE_USER", "me@x.org")
    monkeypatch.setenv("SITE_PASSWORD", password)


def test_the_form_opens_the_site_and_nothing_is_shown_or_kept(site, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    log_in(monkeypatch)
    assert get(site, form(site), tmp_path) == CONTENT
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (SECRET, TOKEN, "me@x.org"):
        assert secret not in caplog.text and secret.encode() not in kept


def test_the_cookie_of_a_browser_opens_the_site(site, tmp_path, monkeypatch):
    monkeypatch.setenv("SITE_COOKIE", f"a=b; PHPSESSID={TOKEN}")
    assert get(site, Login(f"{site}/", cookie="SITE_COOKIE"), tmp_path) == CONTENT


def test_another_host_gets_no_cookie(site, tmp_path, monkeypatch):
    log_in(monkeypatch)
    assert get(site, form(site), tmp_path, "away/data.zip") == CONTENT
    assert [cookies for host, cookies in Site.seen if host == "localhost"] == [None]
    assert any(TOKEN in (cookies or "") for host, cookies in Site.seen if host == "127.0.0.1")


def test_a_wrong_password_is_told_by_name(site, tmp_path, monkeypatch):
    log_in(monkeypatch, "wrong")
    with pytest.raises(OSError, match="did not accept SITE_USER and SITE_PASSWORD") as error:
        get(site, form(site), tmp_path)
    assert "wrong" not in str(error.value).replace("wrong bytes", "")


def test_without_an_account_it_says_what_to_set_and_asks_nobody(site, tmp_path):
    with pytest.raises(ValueError, match=r"Set SITE_USER and SITE_PASSWORD, or place it by hand"):
        get(site, form(site), tmp_path)
    assert Site.seen == []


def test_half_an_account_is_a_mistake(site, tmp_path, monkeypatch):
    monkeypatch.setenv("SITE_USER", "me@x.org")
    with pytest.raises(ValueError, match="SITE_PASSWORD is not set"):
        get(site, form(site), tmp_path)


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("cityscapes", ["CITYSCAPES_USERNAME", "CITYSCAPES_PASSWORD"]),
        ("imagenet_1k", ["IMAGENET_COOKIE"]),
    ],
)
def test_the_datasets_that_need_an_account(name, variables):
    login = load(DatasetConfig, ROOT / f"config/datasets/{name}.yaml").login
    assert login is not None and login.wanted == variables
