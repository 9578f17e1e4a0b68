"""Check this installation and this machine, and say what to do about what is amiss.

Examples:
  lemore doctor
  lemore doctor --configfile config/paper.yaml        # and what its trainings need
  lemore doctor --folder /data/runs --json
"""

import argparse
from pathlib import Path

from lemore.stages.planning.doctor import diagnose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, default=Path(), help="where runs are to be made")
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], help="of the run")
    parser.add_argument("--json", action="store_true", help="findings as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    return diagnose(args.folder, args.configfile, args.json)
