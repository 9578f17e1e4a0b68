"""Which measured values are the best and the second best of their table."""

from collections.abc import Iterable

from lemore.reporting.tables.rows import Row

LARGER_IS_BETTER = {"miou": True, "top1": True, "top5": True} | dict.fromkeys(
    ("gmacs", "gmacs_fvcore", "params_m", "latency_ms_p50"), False
)


def best_marks(rows: list[Row]) -> dict[tuple[int, str], str]:
    """{(row, column): "best" or "second"} of the measured values.

    Only like is compared with like: accuracies of one dataset, costs at one size on one device.
    Ties share a mark; a group of one value or of equal values has none.
    """
    marks: dict[tuple[int, str], str] = {}
    for column, larger in LARGER_IS_BETTER.items():
        groups: dict[tuple[str, ...], list[int]] = {}
        for i, row in enumerate(rows):
            if row[column]:
                groups.setdefault(_group(row, column), []).append(i)
        for group in groups.values():
            marks |= _marks_of(rows, group, column, larger)
    return marks


def _group(row: Row, column: str) -> tuple[str, ...]:
    if column in ("miou", "top1", "top5"):
        return (row["dataset"],)
    return (row["dataset"].removesuffix("_scenes"), row["profile_size"], row["device"])


def _marks_of(
    rows: list[Row], group: Iterable[int], column: str, larger: bool
) -> dict[tuple[int, str], str]:
    names = ranked({i: float(rows[i][column]) for i in group}, larger)
    return {(i, column): name for i, name in names.items()}


def ranked(values: dict[int, float], larger: bool) -> dict[int, str]:
    """The keys of the best and second best values, as "best" and "second"; ties share a mark.

    Equal values alone have none. larger: whether the larger value is the better one.
    """
    order = sorted(set(values.values()), reverse=larger)
    if len(order) < 2:
        return {}
    names = {order[0]: "best", order[1]: "second"}
    return {i: names[value] for i, value in values.items() if value in names}
