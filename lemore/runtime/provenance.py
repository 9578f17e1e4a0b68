"""Finds the commit and the command that a result was made by."""

import shlex
import subprocess
import sys
from pathlib import Path


def find_commit() -> str:
    """Returns the checkout's commit, with -dirty if it was edited; "" outside a checkout."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    return found.stdout.strip()


def quote_command() -> str:
    """Returns the command line of this job, to be copied from a result."""
    return shlex.join(["lemore", *sys.argv[1:]])
