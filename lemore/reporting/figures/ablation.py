"""The ablation figure: what each of LeMoRe's parts adds in accuracy and in cost (Table 2)."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lemore.reporting.figures.style import COLORS, GREY, INK, scenes_banner, styled
from lemore.reporting.tables.printed import is_scenes
from lemore.reporting.tables.rows import Row

PARTS = ("Transverse", "Frontal", "Lateral", "CA", "N-Attn")
FULL = "lemore"  # has all of them
VARIANT = re.compile(r"lemore_(t)(f?)(l?)(_ca)?(_na)?")


@dataclass(frozen=True)
class Panel:
    """One quantity. Keys of the measured and the published values, "" for none."""

    title: str
    measured: str
    published: str
    spread: str = ""


COSTS = (
    Panel("GMACs", "gmacs", "gflops_paper"),
    Panel("Parameters (M)", "params_m", "params_m_paper"),
)


def parts_of(model: str) -> tuple[bool, ...] | None:
    """Which of `PARTS` a model has; None if it is no row of the ablation."""
    if model == FULL:
        return (True,) * len(PARTS)
    found = VARIANT.fullmatch(model)
    return tuple(bool(part) for part in found.groups()) if found else None


def variants(rows: list[Row]) -> list[Row]:
    """The rows of the ablation, in the table's order."""
    return [row for row in rows if parts_of(row["model"]) is not None]


def draw(rows: list[Row]) -> Figure:
    """One line per variant; filled: measured, hollow: published.

    ValueError if the table has no variant with a number.
    """
    shown = variants(rows)
    panels = [p for p in _panels(shown) if _any(shown, p.measured) or _any(shown, p.published)]
    if not panels:
        raise ValueError("the table has no row of the ablation with a number: nothing to draw")
    with styled():
        figure = Figure(figsize=(2.0 + 2.1 * len(panels), 1.5 + 0.38 * len(shown)))
        figure.set_layout_engine("constrained")
        grid = figure.subplots(
            1, 1 + len(panels), sharey=True, width_ratios=[1.0, *[1.5] * len(panels)]
        )
        _matrix(grid[0], shown)
        for axes, panel in zip(grid[1:], panels, strict=True):
            _panel(axes, panel, shown)
        _legend(figure, shown, panels)
        if any(is_scenes(row) for row in shown):
            scenes_banner(figure)
    return figure


def _panels(shown: list[Row]) -> list[Panel]:
    """mIoU measured on scenes has an axis of its own: it cannot be compared with the paper's."""
    if any(is_scenes(row) for row in shown):
        accuracy = [
            Panel("mIoU (%), scenes", "miou", "", "miou_sd"),
            Panel("mIoU (%), published", "", "miou_paper"),
        ]
    else:
        accuracy = [Panel("mIoU (%)", "miou", "miou_paper", "miou_sd")]
    return [*accuracy, *COSTS]


def _any(rows: list[Row], key: str) -> bool:
    return bool(key) and any(row[key] for row in rows)


def _matrix(axes: Axes, rows: list[Row]) -> None:
    """A dot for every part that a variant has."""
    for y, row in enumerate(rows):
        for x, has in enumerate(parts_of(row["model"]) or ()):
            face = INK if has else "white"
            axes.scatter(x, y, s=34, facecolor=face, edgecolor=INK if has else "#C8C8C8", lw=0.8)
    axes.set_xlim(-0.6, len(PARTS) - 0.4)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(PARTS)), PARTS, rotation=90)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _panel(axes: Axes, panel: Panel, rows: list[Row]) -> None:
    for y, row in enumerate(rows):
        axes.axhline(y, color="#E4E4E4", linewidth=0.6, zorder=0)
        spread = float(row[panel.spread]) if panel.spread and row[panel.spread] else None
        _point(axes, row.get(panel.published, ""), y, _hollow)
        _point(axes, row.get(panel.measured, ""), y, _filled, spread)
    axes.set_title(panel.title, fontsize=8)
    axes.tick_params(left=False, labelleft=False)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.22)


def _hollow(axes: Axes, x: float, y: int) -> None:
    axes.scatter(x, y, s=52, marker="o", facecolor="none", edgecolor=GREY, lw=1.2, zorder=3)


def _filled(axes: Axes, x: float, y: int) -> None:
    axes.scatter(x, y, s=22, marker="D", facecolor=COLORS[1], edgecolor=INK, lw=0.6, zorder=4)


def _point(
    axes: Axes,
    text: str,
    y: int,
    draw_marker: Callable[[Axes, float, int], None],
    spread: float | None = None,
) -> None:
    """A marker with its value: measured below the line's middle, published above."""
    if not text:
        return
    x, filled = float(text), draw_marker is _filled
    draw_marker(axes, x, y)
    if spread is not None:
        axes.errorbar(x, y, xerr=spread, color=INK, elinewidth=0.8, capsize=2, zorder=2)
    axes.annotate(
        f"{x:.2f}" if filled else text,
        (x, y),
        (0, 5 if filled else -5),
        textcoords="offset points",
        ha="center",
        va="bottom" if filled else "top",
        fontsize=6.2,
        color=INK if filled else "#595959",
    )


def _legend(figure: Figure, rows: list[Row], panels: list[Panel]) -> None:
    handles = []
    if any(_any(rows, panel.measured) for panel in panels):
        handles.append(_key("D", COLORS[1], INK, "measured (value above)"))
    if any(_any(rows, panel.published) for panel in panels):
        handles.append(_key("o", "none", GREY, "published (value below)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)


def _key(marker: str, face: str, edge: str, text: str) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker=marker, markerfacecolor=face, markeredgecolor=edge,
        label=text,
    )  # fmt: skip


def description(rows: list[Row]) -> str:
    """The figure in words, for those who cannot see it."""
    parts = []
    for row in variants(rows):
        has = [name for name, on in zip(PARTS, parts_of(row["model"]) or (), strict=True) if on]
        values = [
            f"{word} {row[key]}{unit}"
            for word, key, unit in (
                ("measured mIoU", "miou", " %"),
                ("published", "miou_paper", " %"),
                ("", "gmacs", " GMACs"),
                ("", "params_m", " M parameters"),
            )
            if row[key]
        ]
        parts.append(f"{' + '.join(has)}: {', '.join(value.strip() for value in values)}")
    scenes = " Accuracies were measured on drawn scenes." if any(map(is_scenes, rows)) else ""
    return f"LeMoRe's parts and what they bring. {'; '.join(parts)}.{scenes}"
