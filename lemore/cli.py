"""`lemore <task> ...`: finds the task by name and imports only that one."""

import argparse
import ast
import importlib
import logging
import os
import sys
from pathlib import Path

from lemore import __version__
from lemore.config import did_you_mean

TASKS = Path(__file__).parent / "tasks"
# Besides the network's threads these have threads that read and measure: torch's must not keep the
# cores busy for long while they wait, which on a busy machine costs most of the time. libgomp reads
# it when torch loads.
SLEEPERS = ("evaluate", "predict")


def task_names() -> list[str]:
    """Commands, by the files in lemore/tasks."""
    return sorted(p.stem.replace("_", "-") for p in TASKS.glob("[!_]*.py"))


def summary(name: str) -> str:
    """First line of a task's docstring, read without importing it."""
    text = (TASKS / f"{name.replace('-', '_')}.py").read_text()
    return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]


def overview() -> str:
    lines = [f"  {name:<16}{summary(name)}" for name in task_names()]
    return "\n".join(["usage: lemore <task> [options]   (lemore <task> --help)", "", *lines])


def main(argv: list[str] | None = None) -> int:
    """Runs one task. Exit codes: 0 done, 1 failed, 2 wrong input, 130/143 stopped by a signal."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"lemore {__version__}")
        return 0
    if argv[0] not in task_names():
        near = did_you_mean(argv[0], task_names())
        print(f"lemore: no task '{argv[0]}'{near} (`lemore` lists them)", file=sys.stderr)
        return 2
    return run_task(argv[0], argv[1:])


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the examples' line breaks and shows the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)


def run_task(name: str, argv: list[str]) -> int:
    debug = "--debug" in argv
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO, format="%(levelname)s %(message)s"
    )
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    if name in SLEEPERS:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    task = importlib.import_module(f"lemore.tasks.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"lemore {name}",
        description=task.__doc__,
        formatter_class=_Help,
    )
    parser.add_argument("--debug", action="store_true", help="log more; stack traces of errors")
    task.add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        return task.run(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, FloatingPointError) as error:
        if debug:
            raise
        print(f"lemore {name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


if __name__ == "__main__":
    sys.exit(main())
