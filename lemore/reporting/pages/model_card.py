"""The README.md of a shared model: its description, training and scores."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from lemore.reporting.pages.page import fill_template

SEAL = "\n<!-- card written by lemore share, "


def render(
    facts: Mapping[str, Any], classes: Sequence[str], evaluation: Mapping[str, Any] | None
) -> str:
    """Renders the card as Markdown. evaluation: the JSON of `lemore evaluate`, if there is one."""
    card = fill_template(
        "model_card.md.j2",
        **facts,
        classes=[_escape(name) for name in classes],
        evaluation=evaluation,
        format_percent=_format_percent,
    )
    return card + _make_seal(card)


def is_as_written(text: str) -> bool:
    """Returns whether nobody has changed a card since `render` made it."""
    card, begin, _ = text.rpartition(SEAL)
    return bool(begin) and text == card + _make_seal(card)


def _make_seal(card: str) -> str:
    digest = hashlib.sha256(card.encode()).hexdigest()
    return f"{SEAL}{digest[:16]}; it is kept once it has been changed -->\n"


def _format_percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _escape(text: str) -> str:
    """Escapes a name for a cell of a table."""
    return "".join(f"\\{c}" if c in "\\`*_|<>[]" else c for c in text)
