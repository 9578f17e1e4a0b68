"""The README.md of a shared model: what it is, how it was trained, what it scored."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent
TEMPLATE = "model_card.md.j2"
SEAL = "\n<!-- card written by lemore share, "


def render(
    facts: Mapping[str, Any], classes: Sequence[str], evaluation: Mapping[str, Any] | None
) -> str:
    """The card as Markdown. evaluation: the JSON of `lemore evaluate`, if there is one."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = _percent
    card = environment.get_template(TEMPLATE).render(
        **facts, classes=[_escaped(name) for name in classes], evaluation=evaluation
    )
    return card + _seal(card)


def is_as_written(text: str) -> bool:
    """Whether nobody has changed a card since `render` made it."""
    card, begin, _ = text.rpartition(SEAL)
    return bool(begin) and text == card + _seal(card)


def _seal(card: str) -> str:
    digest = hashlib.sha256(card.encode()).hexdigest()
    return f"{SEAL}{digest[:16]}; it is kept once it has been changed -->\n"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _escaped(text: str) -> str:
    """A name in a cell of a table."""
    return "".join(f"\\{c}" if c in "\\`*_|<>[]" else c for c in text)
