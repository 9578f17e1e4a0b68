"""Which model is better than which: the rows of a significance table, and what tables say of them.

One row per pair of models with several seeds each, the one with the higher mIoU first. Differences
and intervals are in points of mIoU (percent), p values two-sided; `p_holm` is corrected for the
number of pairs, and `better` goes by it.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

COLUMNS = [
    "dataset", "test_mode", "model", "than", "seeds", "images", "blocks", "difference", "low",
    "high", "p", "p_holm", "better",
]  # fmt: skip
LEVEL = 0.05

Pair = dict[str, str]


def pair(
    place: Mapping[str, str | int], interval: tuple[float, float, float], p: float, p_holm: float
) -> Pair:
    """A row. place: the first seven columns. interval: difference, low and high in fractions."""
    points = (f"{100 * value:.4f}" for value in interval)
    numbers = (*points, f"{p:.6f}", f"{p_holm:.6f}", "yes" if p_holm < LEVEL else "no")
    return {key: str(value) for key, value in place.items()} | dict(
        zip(COLUMNS[7:], numbers, strict=True)
    )


def csv_text(rows: Iterable[Pair]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read(paths: Iterable[Path | str]) -> list[Pair]:
    """Rows of significance tables. ValueError naming the file if its columns are others."""
    rows: list[Pair] = []
    for path in paths:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if list(reader.fieldnames or []) != COLUMNS:
                raise ValueError(
                    f"{path}: not a table of `lemore significance`, its columns differ"
                )
            rows += reader
    return rows


def notes(
    dataset: str, model: str, test_mode: str, pairs: list[Pair], names: Mapping[str, str]
) -> list[str]:
    """What a model's row in a table says: whom it is better than; of the best, also whom it is not.

    names: printed names by key.
    """
    tested = [p for p in pairs if (p["dataset"], p["test_mode"]) == (dataset, test_mode)]
    mine = [p for p in tested if p["model"] == model]
    best = all(p["than"] != model for p in tested)
    better = [p for p in mine if p["better"] == "yes"]
    others = [p for p in mine if p["better"] == "no" and best]
    said = [f"better than {_listed(better, names)}"] if better else []
    said += [f"not significantly better than {_listed(others, names)}"] if others else []
    return [f"{text} ({_method(mine, len(tested))})" for text in said]


def _listed(pairs: list[Pair], names: Mapping[str, str]) -> str:
    return ", ".join(
        f"{names.get(p['than'], p['than'])}: {float(p['difference']):+.2f} points "
        f"[{float(p['low']):+.2f}, {float(p['high']):+.2f}]"
        for p in pairs
    )


def _method(pairs: list[Pair], number: int) -> str:
    first = pairs[0]
    in_blocks = first["blocks"] != first["images"]
    over = f"{first['blocks']} {'blocks of neighbouring frames' if in_blocks else 'images'}"
    seeds = " or ".join(dict.fromkeys(p["seeds"] for p in pairs))
    correction = f" after Holm's correction for {number} pairs" if number > 1 else ""
    return (
        f"95 % intervals of a paired bootstrap over {over} and {seeds} seeds each, "
        f"significant at p < {LEVEL}{correction}"
    )
