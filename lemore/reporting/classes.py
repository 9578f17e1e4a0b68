"""The figure of classes: IoU of every class, one bar per model."""

from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lemore.reporting.results import Result, by_name
from lemore.reporting.style import GREY, INK, color, hatch, scenes_banner, styled

CLASSES_PER_PANEL = 30


def draw(evaluations: list[Result]) -> Figure:
    """IoU by class, one bar per model, the mean over seeds; classes by their share of pixels.

    A class that is in no label and no prediction has no bar and is called absent.
    ValueError if the results are of several datasets.
    """
    models = by_model(evaluations)
    labels = evaluations[0]["classes"]
    shares = np.asarray(evaluations[0]["confusion"], dtype=float).sum(axis=1)
    order = np.argsort(-shares, kind="stable")
    panels = ceil(len(labels) / CLASSES_PER_PANEL)
    per_panel = ceil(len(labels) / panels)
    bar = max(0.07, 0.16 / len(models))
    with styled():
        height = 1.0 + per_panel * (bar * len(models) + 0.06)
        figure = Figure(figsize=(max(4.8, 2.6 * panels), height), layout="constrained")
        grid = figure.subplots(1, panels, squeeze=False, sharex=True)[0]
        for panel, axes in enumerate(grid):
            part = order[panel * per_panel : (panel + 1) * per_panel]
            _bars(axes, models, [labels[i] for i in part], part)
        handles = [
            Patch(facecolor=color(k), hatch=hatch(k), edgecolor=INK, lw=0.5, label=name)
            for k, name in enumerate(models)
        ]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=min(len(models), 4),
            title="Classes by their share of labelled pixels",
            title_fontsize=7,
        )
        if any(result["scenes"] for result in evaluations):
            scenes_banner(figure)
    return figure


def by_model(evaluations: list[Result]) -> dict[str, np.ndarray]:
    """IoU in percent by printed model, seeds x classes, nan for an absent class."""
    datasets = sorted({result["dataset"] for result in evaluations})
    if len(datasets) != 1:
        raise ValueError(
            f"expected evaluations of one dataset, found {', '.join(datasets) or 'none'}"
        )
    return {
        name: 100 * np.array([result["iou"] for result in seeds], dtype=float)
        for name, seeds in by_name(evaluations).items()
    }


def _bars(axes: Axes, models: dict[str, np.ndarray], labels: list[str], part: np.ndarray) -> None:
    y, width = np.arange(len(labels)), 0.86 / len(models)
    for k, values in enumerate(models.values()):
        known = ~np.isnan(values[:, part])
        count = known.sum(axis=0)
        mean = np.where(known, values[:, part], 0).sum(axis=0) / np.maximum(count, 1)
        axes.barh(
            y + (k - (len(models) - 1) / 2) * width,
            mean,
            width,
            color=color(k),
            hatch=hatch(k),
            edgecolor=INK,
            linewidth=0.4,
        )
    for i, index in enumerate(part):
        if all(np.isnan(values[:, index]).all() for values in models.values()):
            axes.text(1, i, "absent", va="center", fontsize=6, color=GREY, style="italic")
    axes.set_yticks(y, labels, fontsize=6.5)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("IoU (%)")
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)


def description(evaluations: list[Result]) -> str:
    """The figure in words, for those who cannot see it."""
    best = [f"{name} {np.nanmean(values):.1f} %" for name, values in by_model(evaluations).items()]
    scenes = any(result["scenes"] for result in evaluations)
    return (
        f"Bars of IoU by class on {evaluations[0]['dataset']}, mean over the classes: "
        f"{', '.join(best)}.{' Measured on drawn scenes.' if scenes else ''}"
    )
