"""The figure of deployed models: mIoU against latency, a mark per format and a line per model."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lemore.reporting.figures import style
from lemore.reporting.figures.style import INK
from lemore.reporting.tables.deploy import FORMATS
from lemore.reporting.tables.results import Result, label_models

MARKERS = dict(zip(FORMATS, "osD^pPv<>X*", strict=True))


def draw(deployments: Sequence[Result]) -> Figure:
    """Draws the deployments of one dataset, each model's formats in the order of their latency."""
    names = label_models(deployments)
    with style.apply_style():
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        axes = figure.add_subplot()
        for k, result in enumerate(deployments):
            look = {"color": style.pick_color(k), "zorder": 2}
            rows = sorted(result["formats"], key=lambda row: row["latency"]["p50_ms"])
            places = [(row["latency"]["p50_ms"], 100 * row["miou"]) for row in rows]
            line = {"linestyle": style.pick_dashes(k), "linewidth": 1.2, **look}
            axes.plot(*zip(*places, strict=True), label=names[result["model"]], **line)
            for row, place in zip(rows, places, strict=True):
                marker = MARKERS[row["format"]]
                mark = {"markersize": 7, "markeredgecolor": INK, "clip_on": False}
                axes.plot(*place, marker=marker, **mark, **look)
        first = deployments[0]
        size = "x".join(map(str, first["size"]))
        sized = f", images {size}" if all(r["size"] == first["size"] for r in deployments) else ""
        threads = f"{first['threads']} thread{'s' * (first['threads'] > 1)}"
        axes.set(xlabel=f"Latency p50 (ms, {threads}{sized})", ylabel="mIoU (%)")
        axes.set_xlim(left=0)
        accuracies = [100 * row["miou"] for result in deployments for row in result["formats"]]
        margin = max(0.12 * (max(accuracies) - min(accuracies)), 1.0)
        axes.set_ylim(min(accuracies) - margin, max(accuracies) + margin)
        axes.grid()
        lines = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
        shown = {row["format"] for result in deployments for row in result["formats"]}
        keys = [_make_format_key(name) for name in FORMATS if name in shown]
        style.add_legend(figure, [*lines, *keys], min(len(lines) + len(keys), 5))
        if any(result["scenes"] for result in deployments):
            style.add_banner(figure)
    return figure


def _make_format_key(format: str) -> Line2D:
    return style.make_key(MARKERS[format], "white", INK, FORMATS[format])


def describe(deployments: Sequence[Result]) -> str:
    """Describes the figure in words, for those who cannot see it."""
    names = label_models(deployments)
    words = [
        f"{names[result['model']]} as {FORMATS[row['format']]} {100 * row['miou']:.1f} % in "
        f"{row['latency']['p50_ms']:.1f} ms"
        for result in deployments
        for row in result["formats"]
    ]
    scenes = " Measured on drawn scenes." if any(r["scenes"] for r in deployments) else ""
    return f"mIoU against latency, a line per model, a mark per format: {'; '.join(words)}.{scenes}"
