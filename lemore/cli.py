"""`lemore <command> ...`: finds the command by name and imports only that one."""

import argparse
import ast
import importlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from lemore import __version__
from lemore.config.read import did_you_mean

COMMANDS = Path(__file__).parent / "commands"
# These commands run something else beside or between the network's runs. Torch's threads must not
# spin for long while they wait, which on a busy machine costs most of the time. libgomp reads
# GOMP_SPINCOUNT when torch loads.
SLEEPERS = ("deploy", "evaluate", "predict")


def list_commands() -> list[str]:
    """Returns the names of the commands, by the files in lemore/commands."""
    return sorted(p.stem.replace("_", "-") for p in COMMANDS.glob("[!_]*.py"))


def read_summary(name: str) -> str:
    """Returns the first line of a command's docstring, without importing it."""
    text = (COMMANDS / f"{name.replace('-', '_')}.py").read_bytes()
    return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]


def make_overview() -> str:
    lines = [f"  {name:<16}{read_summary(name)}" for name in list_commands()]
    return "\n".join(["usage: lemore <command> [options]   (lemore <command> --help)", "", *lines])


@contextmanager
def end_with_reader() -> Iterator[None]:
    """Ends the program with exit code 1 and no trace when nobody reads on (as after `| head`)."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here, since Python prints a trace when it fails at exit
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@end_with_reader()
def main(argv: list[str] | None = None) -> int:
    """Runs one command. Exit codes: 0 done, 1 failed, 2 wrong input, 130 or 143 stopped."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(make_overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"lemore {__version__}")
        return 0
    if argv[0] not in list_commands():
        near = did_you_mean(argv[0], list_commands())
        print(f"lemore: no command '{argv[0]}'{near} (`lemore` lists them)", file=sys.stderr)
        return 2
    if argv[0] in SLEEPERS:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    module = importlib.import_module(f"lemore.commands.{argv[0].replace('-', '_')}")
    return run_command(f"lemore {argv[0]}", module, argv[1:])


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the examples' line breaks and shows the defaults that are informative, unless the
    help says them in words."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, [], "") or "default:" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


@end_with_reader()
def run_command(prog: str, module: ModuleType, argv: list[str]) -> int:
    """Parses the options that `module` adds and calls its `run`; `prog` is its name in the help."""
    debug = "--debug" in argv
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO, format="%(levelname)s %(message)s"
    )
    for name in ("filelock", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(prog=prog, description=module.__doc__, formatter_class=_Help)
    parser.add_argument("--debug", action="store_true", help="log more; stack traces of errors")
    module.add_arguments(parser)
    args = parser.parse_args(argv)
    vars(args).pop("debug")  # the rest belongs to the command
    try:
        return module.run(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except (ValueError, OSError, FloatingPointError) as error:
        if debug:
            raise
        print(f"{prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


if __name__ == "__main__":
    sys.exit(main())
