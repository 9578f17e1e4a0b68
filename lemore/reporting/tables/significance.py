"""Significance tables: which models are better than which, and remarks on it for other tables.

One row per pair of models with several seeds each, the one with the higher mIoU first. Differences
and intervals are in points of mIoU (percent), p values two-sided; `p_holm` is corrected for the
number of pairs, and decides `better`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

FORMATS = {
    "dataset": "", "test_mode": "", "model": "", "than": "", "seeds": "d", "images": "d",
    "blocks": "d", "difference": ".4f", "low": ".4f", "high": ".4f", "p": ".6f", "p_holm": ".6f",
    "better": "",
}  # fmt: skip
TYPES = {"": "str", "d": "int64"}  # of columns by their format; others are float64
LEVEL = 0.05
Pair = dict[str, Any]  # a row: a value for each of FORMATS


def format_csv(pairs: Sequence[Pair]) -> str:
    """Returns CSV of pairs, with the column `better`: whether the corrected p is below 0.05."""
    verdicts = ({"better": "yes" if pair["p_holm"] < LEVEL else "no"} for pair in pairs)
    rows = [pair | verdict for pair, verdict in zip(pairs, verdicts, strict=True)]
    texts = [[format(row[column], kind) for column, kind in FORMATS.items()] for row in rows]
    frame = pd.DataFrame(texts, columns=pd.Index(FORMATS))
    return frame.to_csv(index=False, lineterminator="\n")


def read_pairs(paths: Iterable[Path | str]) -> list[Pair]:
    """Reads significance tables; ValueError names a file with other columns."""
    pairs = []
    for path in paths:
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
        if list(table.columns) != [*FORMATS]:
            raise ValueError(f"{path}: not a table of `lemore significance`, its columns differ")
        types = {column: TYPES.get(kind, "float64") for column, kind in FORMATS.items()}
        pairs += table.astype(types).to_dict("records")
    return pairs


def describe_verdicts(
    dataset: str, model: str, test_mode: str, pairs: Sequence[Pair], names: Mapping[str, str]
) -> list[str]:
    """Returns remarks on the models that each is better than; for the best, also on the others.

    names: printed names by key.
    """
    tested = [p for p in pairs if (p["dataset"], p["test_mode"]) == (dataset, test_mode)]
    mine = [p for p in tested if p["model"] == model]
    better = [p for p in mine if p["better"] == "yes"]
    others = [p for p in mine if p["better"] == "no"]
    notes = [f"better than {_list_rivals(better, names)}"] if better else []
    if others and all(p["than"] != model for p in tested):
        notes += [f"not significantly better than {_list_rivals(others, names)}"]
    return [f"{note} ({_describe_method(mine, len(tested))})" for note in notes]


def _list_rivals(pairs: Sequence[Pair], names: Mapping[str, str]) -> str:
    return ", ".join(
        f"{names.get(p['than'], p['than'])}: {p['difference']:+.2f} points "
        f"[{p['low']:+.2f}, {p['high']:+.2f}]"
        for p in pairs
    )


def _describe_method(pairs: Sequence[Pair], number: int) -> str:
    first = pairs[0]
    in_blocks = first["blocks"] != first["images"]
    over = f"{first['blocks']} {'blocks of neighbouring frames' if in_blocks else 'images'}"
    seeds = " or ".join(dict.fromkeys(str(p["seeds"]) for p in pairs))
    correction = f" after Holm's correction for {number} pairs" if number > 1 else ""
    return (
        f"95 % intervals of a paired bootstrap over {over} and {seeds} seeds each, "
        f"significant at p < {LEVEL}{correction}"
    )
