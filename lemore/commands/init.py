"""Lay out a project folder: a Snakefile and run files for the workflow that comes with lemore.

`snakemake --cores 2` there runs config/config.yaml, which draws its own scenes; `--configfile`
chooses another run. Models, datasets and recipes are the package's own, but for those of which
the folder has a file config/... itself. For photos of your own, `lemore train` writes the folder.

Example:
  lemore init streets && cd streets && snakemake --cores 2 --configfile config/camvid.yaml
"""

import argparse
from pathlib import Path

from lemore.stages.own.project import lay_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to make")


def run(args: argparse.Namespace) -> int:
    lay_out(args.folder)
    print(f"{args.folder}: run `snakemake --cores 2` in it")
    return 0
