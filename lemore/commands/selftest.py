"""Try every path that differs on a GPU, and compare it with what the CPU computes.

Needs no data: it draws its own. Run it first on a new machine. A check that fails does not stop the
others; the exit code is 1 if one failed. On a CPU the same list runs.

Examples:
  lemore selftest
  lemore selftest --device cpu --quick --output /tmp/selftest.html
"""

import argparse
from pathlib import Path

from lemore.commands._options import add_device
from lemore.config.read import positive
from lemore.stages.selftest.run import SelftestOptions, selftest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_device(parser, "the GPU if there is one")
    parser.add_argument("--quick", action="store_true", help="leave out what takes long")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/selftest.html"),
        help="page; JSON and log lie beside it",
    )


def run(args: argparse.Namespace) -> int:
    return selftest(SelftestOptions(**vars(args)))
