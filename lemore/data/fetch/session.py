"""A session at a site that gives its files to registered users only.

Names and passwords come from environment variables and stay in this process: cookies are kept in
memory, go to the site that set them and to no other, and no message shows them.
"""

import http.cookiejar
import http.cookies
import os
import urllib.error
import urllib.parse
import urllib.request

from lemore.config.dataset import Login

TIMEOUT = 60


def open_session(login: Login | None) -> urllib.request.OpenerDirector:
    """What opens urls, logged in if that is asked for and the variables are set.

    ValueError if only some of them are; OSError if the site does not answer.
    """
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    opener.addheaders = [("User-Agent", "lemore")]
    if login is None or not has_account(login):
        return opener
    if login.cookie is not None:
        _put_cookies(jar, login.address, os.environ[login.cookie])
    else:
        _send_form(opener, login)
    return opener


def has_account(login: Login) -> bool:
    """Whether the environment holds what the site asks for."""
    missing = [name for name in login.wanted if not os.environ.get(name)]
    if missing and len(missing) < len(login.wanted):
        raise ValueError(f"{', '.join(missing)} is not set; it goes with {', '.join(login.wanted)}")
    return not missing


def _send_form(opener: urllib.request.OpenerDirector, login: Login) -> None:
    secret = {name: os.environ[variable] for name, variable in login.variables.items()}
    body = urllib.parse.urlencode(login.form | secret).encode()
    try:
        with opener.open(login.address, body, TIMEOUT) as response:
            response.read()
    except urllib.error.HTTPError as error:
        names = " and ".join(login.wanted)
        raise OSError(f"{login.address}: {error.code} {error.reason}; check {names}") from None
    except urllib.error.URLError as error:
        raise OSError(f"{login.address}: {error.reason}") from None


def _put_cookies(jar: http.cookiejar.CookieJar, address: str, text: str) -> None:
    parts = urllib.parse.urlsplit(address)
    for name, morsel in http.cookies.SimpleCookie(text).items():
        jar.set_cookie(
            http.cookiejar.Cookie(
                version=0,
                name=name,
                value=morsel.value,
                port=None,
                port_specified=False,
                domain=parts.hostname or "",
                domain_specified=False,
                domain_initial_dot=False,
                path="/",
                path_specified=True,
                secure=parts.scheme == "https",
                expires=None,
                discard=True,
                comment=None,
                comment_url=None,
                rest={},
            )
        )
