"""The ablation figure: what each of LeMoRe's parts adds in accuracy and in cost (Table 2)."""

import re
from dataclasses import dataclass
from math import isnan, nan

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lemore.reporting.figures import style
from lemore.reporting.figures.style import COLORS, GREY, INK
from lemore.reporting.tables.printed import find_scenes

PARTS = ("Transverse", "Frontal", "Lateral", "CA", "N-Attn")
FULL = "lemore"  # has all parts
VARIANT = re.compile(r"lemore_(t)(f?)(l?)(_ca)?(_na)?")


@dataclass(frozen=True)
class Panel:
    """One quantity: the columns of its measured and published values and its deviation, or ""."""

    title: str
    measured: str
    published: str
    spread: str = ""


ON_PHOTOS = (Panel("mIoU (%)", "miou", "miou_paper", "miou_sd"),)
# mIoU measured on scenes cannot be compared with the paper's, so it has an axis of its own
ON_SCENES = (
    Panel("mIoU (%), scenes", "miou", "", "miou_sd"),
    Panel("mIoU (%), published", "", "miou_paper"),
)
COSTS = (
    Panel("GMACs", "gmacs", "gflops_paper"),
    Panel("Parameters (M)", "params_m", "params_m_paper"),
)
MEASURED = ("miou", "gmacs", "params_m")
WORDS = {
    "miou": "measured mIoU {} %",
    "miou_paper": "published {} %",
    "gmacs": "{} GMACs",
    "params_m": "{} M parameters",
}


def find_parts(model: str) -> tuple[bool, ...] | None:
    """Returns those of `PARTS` that a model has; None if it is no row of the ablation."""
    if model == FULL:
        return (True,) * len(PARTS)
    found = VARIANT.fullmatch(model)
    return tuple(bool(part) for part in found.groups()) if found else None


def select_variants(table: pd.DataFrame) -> pd.DataFrame:
    """Selects the rows of the ablation, in the table's order."""
    return table.loc[[find_parts(model) is not None for model in table["model"]], :]


def draw(table: pd.DataFrame) -> Figure:
    """Draws one line per variant; filled: measured, hollow: published.

    ValueError if the table has no variant with a number.
    """
    shown = select_variants(table)
    scenes = bool(find_scenes(shown).any())
    panels = [
        panel
        for panel in (*(ON_SCENES if scenes else ON_PHOTOS), *COSTS)
        if _has_values(shown, panel.measured) or _has_values(shown, panel.published)
    ]
    if not panels:
        raise ValueError("the table has no row of the ablation with a number: nothing to draw")
    with style.apply_style():
        figure = Figure(figsize=(2.0 + 2.1 * len(panels), 1.5 + 0.38 * len(shown)))
        figure.set_layout_engine("constrained")
        grid = figure.subplots(
            1, 1 + len(panels), sharey=True, width_ratios=[1.0, *[1.5] * len(panels)]
        )
        _draw_parts(grid[0], list(shown["model"]))
        for axes, panel in zip(grid[1:], panels, strict=True):
            _draw_panel(axes, panel, shown)
        handles = []
        if any(_has_values(shown, panel.measured) for panel in panels):
            handles.append(style.make_key("D", COLORS[1], INK, "measured (value above)"))
        if any(_has_values(shown, panel.published) for panel in panels):
            handles.append(style.make_key("o", "none", GREY, "published (value below)"))
        style.add_legend(figure, handles, 2)
        if scenes:
            style.add_banner(figure)
    return figure


def _has_values(table: pd.DataFrame, column: str) -> bool:
    return bool(column) and bool((table[column].notna() & (table[column] != "")).any())


def _draw_parts(axes: Axes, models: list[str]) -> None:
    """Draws a dot for every part that a variant has."""
    for y, model in enumerate(models):
        for x, has in enumerate(find_parts(model) or ()):
            face = INK if has else "white"
            axes.scatter(x, y, s=34, facecolor=face, edgecolor=INK if has else "#C8C8C8", lw=0.8)
    axes.set_xlim(-0.6, len(PARTS) - 0.4)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_xticks(range(len(PARTS)), PARTS, rotation=90)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_panel(axes: Axes, panel: Panel, table: pd.DataFrame) -> None:
    """Draws markers with values: published below the middle of their line, measured above."""
    for y, row in enumerate(table.to_dict("records")):
        axes.axhline(y, color="#E4E4E4", linewidth=0.6, zorder=0)
        if text := row.get(panel.published, ""):
            look = {"s": 52, "marker": "o", "facecolor": "none", "edgecolor": GREY, "lw": 1.2}
            axes.scatter(float(text), y, zorder=3, **look)
            _write_value(axes, text, (float(text), y), -5, "#595959")
        value = row.get(panel.measured, nan)
        if not isnan(value):
            look = {"s": 22, "marker": "D", "facecolor": COLORS[1], "edgecolor": INK, "lw": 0.6}
            axes.scatter(value, y, zorder=4, **look)
            spread = row.get(panel.spread, nan)
            if not isnan(spread):
                axes.errorbar(value, y, xerr=spread, color=INK, elinewidth=0.8, capsize=2, zorder=2)
            _write_value(axes, f"{value:.2f}", (value, y), 5, INK)
    axes.set_title(panel.title, fontsize=8)
    axes.tick_params(left=False, labelleft=False)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.22)


def _write_value(axes: Axes, text: str, place: tuple[float, int], offset: int, color: str) -> None:
    look = {"ha": "center", "va": "bottom" if offset > 0 else "top", "fontsize": 6.2}
    axes.annotate(text, place, (0, offset), textcoords="offset points", color=color, **look)


def describe(table: pd.DataFrame) -> str:
    """Describes the figure in words, for those who cannot see it."""
    shown, parts = select_variants(table), []
    for row in shown.to_dict("records"):
        has = [name for name, on in zip(PARTS, find_parts(row["model"]) or (), strict=True) if on]
        texts = {key: f"{row[key]:.10g}" for key in MEASURED if not isnan(row[key])}
        texts |= {"miou_paper": row["miou_paper"]} if row["miou_paper"] else {}
        values = [words.format(texts[key]) for key, words in WORDS.items() if key in texts]
        parts.append(f"{' + '.join(has)}: {', '.join(values)}")
    scenes = " Accuracies were measured on drawn scenes." if find_scenes(shown).any() else ""
    return f"LeMoRe's parts and what they bring. {'; '.join(parts)}.{scenes}"
