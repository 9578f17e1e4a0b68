"""A session at a site that gives its files to registered users only.

Names and passwords come from environment variables and stay in this process: cookies are kept in
memory, go to the site that set them and to no other, and no message shows them.
"""

import os
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

import requests

from lemore.config.dataset import Login

TIMEOUT = 60  # seconds without a byte


def open_session(login: Login | None) -> requests.Session:
    """Opens a session, logged in if the dataset asks for it and the variables are set.

    ValueError if only some of them are; OSError if the site does not answer.
    """
    session = requests.Session()
    # Files must not be recoded: their sizes are compared and parts of them are requested.
    session.headers.update({"User-Agent": "lemore", "Accept-Encoding": "identity"})
    if login is None or not has_account(login):
        return session
    if login.cookie is not None:
        site = urlsplit(login.address)
        for name, morsel in SimpleCookie(os.environ[login.cookie]).items():
            secure = site.scheme == "https"
            session.cookies.set(name, morsel.value, domain=site.hostname, secure=secure)
        return session
    secrets = {name: os.environ[variable] for name, variable in login.variables.items()}
    try:
        answer = session.post(login.address, login.form | secrets, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise OSError(f"{login.address}: {describe_cause(error)}") from None
    if not answer.ok:
        status, names = f"{answer.status_code} {answer.reason}", " and ".join(login.wanted)
        raise OSError(f"{login.address}: {status}; check {names}")
    return session


def has_account(login: Login) -> bool:
    """Returns whether the environment holds what the site asks for."""
    missing = [name for name in login.wanted if not os.environ.get(name)]
    if missing and len(missing) < len(login.wanted):
        raise ValueError(f"{', '.join(missing)} is not set; it goes with {', '.join(login.wanted)}")
    return not missing


def describe_cause(error: requests.RequestException) -> str:
    """Describes an error without the address that was asked for, which may hold a secret."""
    cause = getattr(error.args[0], "reason", None) if error.args else None
    return str(cause or type(error).__name__)
