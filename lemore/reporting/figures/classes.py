"""The figure of classes: IoU of every class, as bars of few models or a heat map of many."""

from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lemore.reporting.figures import style
from lemore.reporting.figures.style import INK, pick_color, pick_hatch
from lemore.reporting.tables.results import Result, check_one_dataset, group_by_name

MOST_BARS = 5  # models; more are drawn as a heat map
CLASSES_PER_PANEL = 30  # of bars
CLASSES_PER_ROW = 38  # of a heat map
CELL_INCHES = 0.24


def draw(evaluations: list[Result]) -> Figure:
    """Draws IoU by class, the mean over seeds; classes are sorted by their share of pixels.

    A class that is in no label and no prediction has no IoU and is left out. ValueError if the
    results are of several datasets.
    """
    means = {name: average_seeds(values) for name, values in stack_by_model(evaluations).items()}
    labels = evaluations[0]["classes"]
    shares = np.asarray(evaluations[0]["confusion"], dtype=float).sum(axis=1)
    ranked = np.argsort(-shares, kind="stable")
    known = [k for k in ranked if not all(np.isnan(values[k]) for values in means.values())]
    order = np.array(known, dtype=int)
    absent = len(labels) - len(order)
    title = "Classes by their share of labelled pixels"
    title += f"; {absent} in no label and no prediction left out" if absent else ""
    drawn = _draw_bar_figure if len(means) <= MOST_BARS else _draw_heat_map
    with style.apply_style():
        figure = drawn(means, labels, order, title)
        if any(result["scenes"] for result in evaluations):
            style.add_banner(figure)
    return figure


def stack_by_model(evaluations: list[Result], key: str = "iou") -> dict[str, np.ndarray]:
    """Returns a result by class in percent by printed model, seeds x classes, nan for an absent
    class. key: of the result files, `iou` or `ap_by_class`."""
    check_one_dataset(evaluations)
    return {
        name: 100 * np.array([result[key] for result in seeds], dtype=float)
        for name, seeds in group_by_name(evaluations).items()
    }


def average_seeds(values: np.ndarray) -> np.ndarray:
    """Averages each class over the seeds (seeds x classes) that have it; nan where none has."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _draw_bar_figure(
    means: dict[str, np.ndarray], labels: list[str], order: np.ndarray, title: str
) -> Figure:
    panels = max(ceil(len(order) / CLASSES_PER_PANEL), 1)
    per_panel = ceil(len(order) / panels)
    bar = max(0.07, 0.16 / len(means))
    height = 1.0 + per_panel * (bar * len(means) + 0.06)
    figure = Figure(figsize=(max(4.8, 2.6 * panels), height), layout="constrained")
    grid = figure.subplots(1, panels, squeeze=False, sharex=True)[0]
    for panel, axes in enumerate(grid):
        _draw_bars(axes, means, labels, order[panel * per_panel : (panel + 1) * per_panel])
    handles = [
        Patch(facecolor=pick_color(k), hatch=pick_hatch(k), edgecolor=INK, lw=0.5, label=name)
        for k, name in enumerate(means)
    ]
    style.add_legend(figure, handles, min(len(means), 4), title=title, title_fontsize=7)
    return figure


def _draw_bars(
    axes: Axes, means: dict[str, np.ndarray], labels: list[str], part: np.ndarray
) -> None:
    y, width = np.arange(len(part)), 0.86 / len(means)
    for k, values in enumerate(means.values()):
        look = {"color": pick_color(k), "hatch": pick_hatch(k), "edgecolor": INK, "linewidth": 0.4}
        middles = y + (k - (len(means) - 1) / 2) * width
        axes.barh(middles, np.nan_to_num(values[part]), width, **look)
    axes.set_yticks(y, [labels[i] for i in part], fontsize=6.5)
    axes.set(xlim=(0, 100), ylim=(len(part) - 0.4, -0.6), xlabel="IoU (%)")
    axes.grid(axis="x")


def _draw_heat_map(
    means: dict[str, np.ndarray], labels: list[str], order: np.ndarray, title: str
) -> Figure:
    """Draws models x classes with IoU in percent, in as many rows of panels as needed."""
    panels = max(ceil(len(order) / CLASSES_PER_ROW), 1)
    per_panel = ceil(len(order) / panels)
    width, height = CELL_INCHES * per_panel + 1.6, CELL_INCHES * len(means) + 1.1
    figure = Figure(figsize=(max(4.8, width), panels * height + 0.6), layout="constrained")
    for panel, axes in enumerate(figure.subplots(panels, 1, squeeze=False)[:, 0]):
        part = order[panel * per_panel : (panel + 1) * per_panel]
        cells = np.array([values[part] for values in means.values()])
        axes.imshow(cells, cmap="Blues", vmin=0, vmax=100, aspect="equal")
        for (i, k), value in np.ndenumerate(cells):
            text = "-" if np.isnan(value) else f"{value:.0f}"
            shade = "white" if value > 55 else INK
            axes.text(k, i, text, ha="center", va="center", fontsize=5.5, color=shade)
        axes.set_yticks(range(len(means)), list(means), fontsize=6.5)
        axes.set_xticks(range(len(part)), [labels[i] for i in part], fontsize=6.5, rotation=90)
        axes.tick_params(length=0)
        axes.spines[:].set(visible=True, color="#C8C8C8")
    figure.supxlabel(f"IoU (%). {title}", fontsize=7)
    return figure


def describe(evaluations: list[Result]) -> str:
    """Describes the figure in words, for those who cannot see it."""
    models = stack_by_model(evaluations)
    best = [f"{name} {np.nanmean(values):.1f} %" for name, values in models.items()]
    scenes = any(result["scenes"] for result in evaluations)
    return (
        f"IoU by class on {evaluations[0]['dataset']}, mean over the classes: "
        f"{', '.join(best)}.{' Measured on drawn scenes.' if scenes else ''}"
    )
