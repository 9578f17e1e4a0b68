"""The cost figure: accuracy against parameters, multiply-accumulates and latency."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan, pi

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lemore.reporting.figures import style
from lemore.reporting.figures.placement import place_labels
from lemore.reporting.figures.style import COLORS, GREY, INK
from lemore.reporting.tables.printed import find_scenes, label_rows

AREA_PER_GMAC = 40.0  # square points
SCENES = "scenes: hatched points were measured on drawn scenes, not on the real dataset"
PARAMS_TICKS = (0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100)


@dataclass(frozen=True)
class Point:
    """A model in the cost figure. params in M, miou in percent, macs in G, latency text in ms."""

    label: str
    params: float
    miou: float
    macs: float
    latency: str
    measured: bool
    ours: bool
    scenes: bool


def find_points(table: pd.DataFrame, measured: Mapping[str, str]) -> list[Point]:
    """Finds measured points, then published ones; rows without accuracy or parameters have none.

    measured: labels of the run's models.
    """
    points, labels = [], label_rows(table, measured)
    rows = table.to_dict("records")
    for row, label, scenes in zip(rows, labels, find_scenes(table), strict=True):
        if labels.count(label) > 1 and row["encoder"]:
            label += f" ({row['encoder']})"
        ours = row["model"].startswith("lemore")
        own = row["params_m"], row["miou"], row["gmacs"]
        if not any(map(isnan, own)):
            latency = row["latency_ms_p50"]
            text = "" if isnan(latency) else f"{latency:.0f}"
            points.append(Point(label, *own, text, measured=True, ours=ours, scenes=scenes))
        published = row["params_m_paper"], row["miou_paper"], row["gflops_paper"]
        if all(published):
            params, miou, macs = map(float, published)
            text = row["latency_ms_paper"]
            points.append(Point(label, params, miou, macs, text, False, ours, scenes=False))
    return sorted(points, key=lambda point: (not point.measured, not point.ours, -point.macs))


def draw(table: pd.DataFrame, measured: Mapping[str, str]) -> Figure:
    """Draws mIoU against parameters; a bubble's area is MACs, the number beside it latency.

    Hollow and grey: published. Filled: measured; hatched where measured on drawn scenes.
    measured: labels of the run's models. ValueError if no row has accuracy and cost.
    """
    shown = find_points(table, measured)
    if not shown:
        raise ValueError("no row of the table has mIoU, parameters and MACs: nothing to draw")
    with style.apply_style():
        figure = Figure(figsize=(8.2, 6.4), layout="constrained")
        axes = figure.add_subplot()
        for point in shown:
            _draw_bubble(axes, point)
        _set_axes(axes, shown)
        keys = _make_keys(shown)
        style.add_legend(figure, keys, len(keys), borderpad=1.4, handletextpad=1)
        if any(point.scenes for point in shown):
            style.add_banner(figure, SCENES)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        radii = [((AREA_PER_GMAC * point.macs) ** 0.5) / 2 for point in shown]
        labels = [_make_label(point) for point in shown]
        place_labels(axes, [(point.params, point.miou) for point in shown], radii, labels)
    return figure


def _draw_bubble(axes: Axes, point: Point) -> None:
    marker, color = ("D", COLORS[1]) if point.ours else ("o", COLORS[0])
    # a circle has pi / 4 of its square
    size = AREA_PER_GMAC * point.macs * (pi / 4 if point.ours else 1)
    look = {"facecolor": "none", "edgecolor": GREY, "alpha": 1.0, "zorder": 2}
    if point.measured:
        look = {"facecolor": color, "edgecolor": INK, "alpha": 0.85, "zorder": 3}
    hatch = "//////" if point.scenes else None
    place = (point.params, point.miou)
    axes.scatter(*place, s=max(size, 9.0), marker=marker, linewidth=0.9, hatch=hatch, **look)


def _make_label(point: Point) -> tuple[str, dict]:
    """Makes a point's label and its text style."""
    text = f"{point.label}, {point.latency} ms" if point.latency else point.label
    if point.measured:
        return text, {"fontsize": 7.5, "fontweight": "bold", "color": INK, "zorder": 5}
    return text, {"fontsize": 6.2, "color": "#595959", "zorder": 4}


def _set_axes(axes: Axes, shown: list[Point]) -> None:
    params, miou = [point.params for point in shown], [point.miou for point in shown]
    axes.set_xscale("log")
    axes.set_xlim(min(params) / 1.5, max(params) * 1.6)
    axes.xaxis.set_major_locator(FixedLocator(PARAMS_TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    margin = max(0.12 * (max(miou) - min(miou)), 1.0)
    axes.set_ylim(min(miou) - margin, max(miou) + margin)
    axes.set(xlabel="Parameters (M, logarithmic)", ylabel="mIoU (%)")
    axes.grid()


def _make_keys(shown: list[Point]) -> list[Artist]:
    handles: list[Artist] = []
    if not all(point.measured for point in shown):
        handles.append(style.make_key("o", "none", GREY, "published"))
    if any(point.measured for point in shown):
        handles.append(style.make_key("o", COLORS[0], INK, "measured"))
    if any(point.scenes for point in shown):
        handles.append(Patch(facecolor="white", edgecolor=INK, hatch="//////", label="on scenes"))
    handles.append(style.make_key("D", COLORS[1], INK, "LeMoRe"))
    for macs in (1, 5, 20):
        width = (AREA_PER_GMAC * macs) ** 0.5
        handles.append(style.make_key("o", "none", GREY, f"{macs} GMACs", markersize=width))
    return handles


def describe(table: pd.DataFrame, measured: Mapping[str, str]) -> str:
    """Describes the figure in words, for those who cannot see it."""
    points = find_points(table, measured)
    own = [p for p in points if p.measured]
    words = [f"{p.label} {p.miou:.1f} % at {p.params:.2f} M" for p in own]
    scenes = " Measured on drawn scenes." if any(p.scenes for p in points) else ""
    return (
        "Bubble chart of mIoU against parameters, bubble area by multiply-accumulates. "
        f"{len(points) - len(own)} published models; "
        f"measured: {', '.join(words) or 'none'}.{scenes}"
    )
