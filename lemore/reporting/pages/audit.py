"""The findings of prepare in a dataset, as one self-contained HTML page."""

from collections import Counter
from pathlib import Path
from typing import Any

from lemore.reporting.pages.page import encode_uri, fill_template

MOST = 200  # faults and groups of equal photos printed; the JSON holds them all


def render(audit: dict[str, Any], colors: list[tuple[int, int, int]], sheets: list[Path]) -> str:
    """Renders the page as HTML. `sheets`: thumbnails of the splits, JPEG, named <split>.jpg."""
    duplicates = audit["duplicates"]  # groups of equal photos, "split/name"
    crossing = [names for names in duplicates if len({n.split("/", 1)[0] for n in names}) > 1]
    return fill_template(
        "audit.html.j2",
        audit=audit,
        verdict=_judge(audit, crossing),
        classes=_list_classes(audit, colors),
        raw=_list_raw_values(audit),
        kinds=Counter(fault["kind"] for fault in audit["quarantined"]).most_common(),
        crossing=crossing,
        within=[names for names in duplicates if names not in crossing],
        most=MOST,
        sheets=[(path.stem, encode_uri("image/jpeg", path.read_bytes())) for path in sheets],
    )


def _judge(audit: dict[str, Any], crossing: list[list[str]]) -> list[tuple[bool, str]]:
    """Returns (whether all is well, in words) for each fact that an owner must know, with the
    warnings of prepare."""
    counts = "; ".join(audit["problems"]) or "every split has the number of images it should have"
    if all(split["expected"] is None for split in audit["splits"].values()):
        counts = "no numbers of images were given to compare with"
    faults, unseen = len(audit["quarantined"]), next(iter(audit["splits"].values()))["unseen"]
    blank = sum(split.get("blank", 0) for split in audit["splits"].values())
    drawn = "box" if audit["task"] == "detection" else "polygon"
    without = [(False, f"photos without any {drawn}: {blank}")] if blank else []
    warnings = audit.get("warnings", [])  # an earlier version wrote none
    return [
        (not audit["problems"], counts),
        *without,
        (faults == 0, f"samples left out: {faults}"),
        (not crossing, f"photos that are in more than one split: {len(crossing)}"),
        (not unseen, f"classes that never occur in training: {len(unseen)}"),
        *((False, text) for text in warnings),
    ]


def _list_classes(
    audit: dict[str, Any], colors: list[tuple[int, int, int]]
) -> list[dict[str, Any]]:
    """Lists per class and split its share, a bar relative to the largest, and its images."""
    rows = []
    splits = list(audit["splits"].values())
    largest = max((share for split in splits for share in _compute_shares(split)), default=1) or 1
    for k, name in enumerate(audit["classes"]):
        found = [(_compute_shares(split)[k], split["images"][k]) for split in splits]
        cells = [(share, 100 * share / largest, images) for share, images in found]
        rows.append({"id": k, "name": name, "color": colors[k] if colors else None, "cells": cells})
    return rows


def _compute_shares(split: dict[str, Any]) -> list[float]:
    total = max(sum(split["pixels"]), 1)
    return [pixels / total for pixels in split["pixels"]]


def _list_raw_values(audit: dict[str, Any]) -> list[tuple[int, list[float]]]:
    """Lists the share of each annotation value before the mapping, in each split."""
    splits = [split["raw_pixels"] for split in audit["splits"].values()]
    values = sorted({int(value) for split in splits for value in split})
    return [
        (value, [split.get(str(value), 0) / max(sum(split.values()), 1) for split in splits])
        for value in values
    ]
