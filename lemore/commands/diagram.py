"""Draw the design of a backbone's feed-forward network (the supplement's Fig. 1).

The module is built at the given size and traced: the drawing shows what the code computes.

Example:
  lemore diagram --config results/scenes/config/diagram.yaml --output feed_forward
"""

import argparse
from pathlib import Path

from lemore.stages.diagram import draw_diagram


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="resolved backbone (YAML)")
    parser.add_argument("--output", required=True, metavar="PREFIX", help="of .png and .pdf")


def run(args: argparse.Namespace) -> int:
    draw_diagram(args.config, args.output)
    return 0
