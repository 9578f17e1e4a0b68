"""Finds the commit, the command and the libraries that a result was made by."""

import platform
import shlex
import subprocess
import sys
from importlib.metadata import version

from lemore.runtime.shipped import INSTALLED, PACKAGE

LIBRARIES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pillow")


def find_commit() -> str:
    """Returns the checkout's commit, with -dirty if it was edited; "" outside a checkout."""
    if INSTALLED:  # perhaps into a folder below somebody else's checkout
        return ""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
    )
    return found.stdout.strip()


def list_versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries whose numbers enter results."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def quote_command() -> str:
    """Returns the command line of this job, to be copied from a result."""
    return shlex.join(["lemore", *sys.argv[1:]])
