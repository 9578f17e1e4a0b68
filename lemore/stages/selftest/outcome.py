"""The outcome of one check: its figures, the limits they are held to, and what went wrong."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

log = logging.getLogger(__name__)


class Skipped(Exception):
    """This machine lacks what the check is about; the argument says what."""


@dataclass(frozen=True)
class Figure:
    """A measured number. limit: the largest that passes, None for one that is only told."""

    name: str
    value: float
    limit: float | None = None
    unit: str = ""

    @property
    def passed(self) -> bool:
        return self.limit is None or self.value <= self.limit  # NaN does not pass

    def list_facts(self) -> dict[str, Any]:
        """Returns it for JSON, which has no NaN or infinity: the value is then null."""
        value = self.value if math.isfinite(self.value) else None
        return asdict(self) | {"value": value, "passed": self.passed}

    def describe(self) -> str:
        text = f"{self.name} {self.value:.4g}{self.unit}"
        return text if self.limit is None else f"{text} (at most {self.limit:g}{self.unit})"


@dataclass(frozen=True)
class CheckOutcome:
    """result: passed, failed or skipped. text: the reason for the latter two, "" where figures
    say it."""

    check: str
    about: str
    result: str
    seconds: float
    figures: tuple[Figure, ...]
    text: str

    def list_facts(self) -> dict[str, Any]:
        return vars(self) | {"figures": [figure.list_facts() for figure in self.figures]}

    def describe(self) -> str:
        """Describes the outcome in one line."""
        failed = [figure for figure in self.figures if not figure.passed]
        details = [self.text] if self.text else []
        details += [figure.describe() for figure in failed or self.figures]
        return f"{self.result:<8}{self.check:<13}{self.seconds:6.1f} s  {'; '.join(details)}"


def run_check(name: str, check: Callable[[], list[Figure]], about: str) -> CheckOutcome:
    """Runs one check; whatever goes wrong becomes its outcome."""
    begin, figures, text = time.monotonic(), [], ""
    try:
        figures = check()
        result = "passed" if all(figure.passed for figure in figures) else "failed"
    except Skipped as reason:
        result, text = "skipped", str(reason)
    except Exception as error:  # a fault in a driver or a library may raise anything
        log.warning("%s", name, exc_info=True)
        result, text = "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return CheckOutcome(name, about, result, time.monotonic() - begin, tuple(figures), text)
