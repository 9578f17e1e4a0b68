"""Say what a run will need before it starts: jobs, hours, memory and disk.

What is already done is left out. Hours and memory come from a few steps of every model on this
machine, with the training's own loop at its crop size and with drawn pixels. Loading is measured on
the prepared data, on one core, and on a GPU it says how many cores must load.

Examples:
  lemore plan --configfile config/paper.yaml --calibrate 5
  lemore plan --calibrate 0            # jobs and disk only, at once
"""

import argparse
from pathlib import Path

from lemore.commands._options import add_device
from lemore.config.read import option
from lemore.config.values import NotNegative
from lemore.stages.planning.plan import DEFAULT, plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    files = "configuration of the run, and what is laid on it"
    parser.add_argument("--configfile", type=Path, nargs="+", help=f"{files}; default: {DEFAULT}")
    parser.add_argument(
        "--calibrate", type=option(NotNegative), default=3.0, help="seconds a model; 0: not"
    )
    add_device(parser, "as `ray.gpus` says")
    parser.add_argument("--json", type=Path, help="file for all numbers")


def run(args: argparse.Namespace) -> int:
    print(plan(args.configfile or [DEFAULT], args.calibrate, args.device, args.json))
    return 0
