"""The cost figure: accuracy against parameters, multiply-accumulates and latency."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import pi

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lemore.reporting.figures.placement import place
from lemore.reporting.figures.style import COLORS, GREY, INK, scenes_banner, styled
from lemore.reporting.tables.printed import is_scenes, label
from lemore.reporting.tables.rows import Row

AREA_PER_GMAC = 40.0  # square points
SCENES = "scenes: hatched points were measured on drawn scenes, not on the real dataset"
PARAMS_TICKS = (0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100)


@dataclass(frozen=True)
class Point:
    """A model in the cost figure. params in M, miou in percent, macs in G, latency text in ms."""

    params: float
    miou: float
    macs: float
    latency: str
    label: str
    measured: bool
    ours: bool
    scenes: bool

    @property
    def area(self) -> float:
        return AREA_PER_GMAC * self.macs


def points(rows: list[Row], measured: Mapping[str, str]) -> list[Point]:
    """Measured points first, then the paper's; rows without accuracy or parameters have none."""
    found = []
    names = Counter(label(row, measured) for row in rows)
    for row in rows:
        name = label(row, measured)
        name += f" ({row['encoder']})" if names[name] > 1 and row["encoder"] else ""
        ours = row["model"].startswith("lemore")
        params, miou, macs = row["params_m"], row["miou"], row["gmacs"]
        if params and miou and macs:
            latency = f"{float(row['latency_ms_p50']):.0f}" if row["latency_ms_p50"] else ""
            own = (float(params), float(miou), float(macs), latency, name)
            found.append(Point(*own, measured=True, ours=ours, scenes=is_scenes(row)))
        params, miou, macs = row["params_m_paper"], row["miou_paper"], row["gflops_paper"]
        if params and miou and macs:
            published = (float(params), float(miou), float(macs), row["latency_ms_paper"], name)
            found.append(Point(*published, measured=False, ours=ours, scenes=False))
    return sorted(found, key=lambda point: (not point.measured, not point.ours, -point.macs))


def draw(rows: list[Row], measured: Mapping[str, str]) -> Figure:
    """mIoU against parameters; the bubble's area is MACs, the number beside it latency.

    Hollow and grey: published. Filled: measured; hatched where measured on drawn scenes.
    measured: labels of the run's models. ValueError if no row has accuracy and cost.
    """
    shown = points(rows, measured)
    if not shown:
        raise ValueError("no row of the table has mIoU, parameters and MACs: nothing to draw")
    with styled():
        figure = Figure(figsize=(8.2, 6.4), layout="constrained")
        axes = figure.add_subplot()
        for point in shown:
            _bubble(axes, point)
        _style_axes(axes, shown)
        _legend(figure, shown)
        if any(point.scenes for point in shown):
            scenes_banner(figure, SCENES)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        radii = [(point.area**0.5) / 2 for point in shown]
        labels = [(_label(point), _label_style(point)) for point in shown]
        place(axes, [(point.params, point.miou) for point in shown], radii, labels)
    return figure


def _bubble(axes: Axes, point: Point) -> None:
    marker = "D" if point.ours else "o"
    size = point.area * (pi / 4 if point.ours else 1)  # a circle has pi / 4 of its square
    color = COLORS[1] if point.ours else COLORS[0]
    axes.scatter(
        point.params,
        point.miou,
        s=max(size, 9.0),
        marker=marker,
        facecolor=color if point.measured else "none",
        edgecolor=INK if point.measured else GREY,
        linewidth=0.9,
        alpha=0.85 if point.measured else 1.0,
        hatch="//////" if point.scenes else None,
        zorder=3 if point.measured else 2,
    )


def _label(point: Point) -> str:
    return f"{point.label}, {point.latency} ms" if point.latency else point.label


def _label_style(point: Point) -> dict:
    if point.measured:
        return {"fontsize": 7.5, "fontweight": "bold", "color": INK, "zorder": 5}
    return {"fontsize": 6.2, "color": "#595959", "zorder": 4}


def _style_axes(axes: Axes, shown: list[Point]) -> None:
    params = [point.params for point in shown]
    axes.set_xscale("log")
    axes.set_xlim(min(params) / 1.5, max(params) * 1.6)
    axes.xaxis.set_major_locator(FixedLocator(PARAMS_TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    values = [point.miou for point in shown]
    margin = max(0.12 * (max(values) - min(values)), 1.0)
    axes.set_ylim(min(values) - margin, max(values) + margin)
    axes.set_xlabel("Parameters (M, logarithmic)")
    axes.set_ylabel("mIoU (%)")
    axes.grid(color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)


def _legend(figure: Figure, shown: list[Point]) -> None:
    handles = []
    if not all(point.measured for point in shown):
        handles.append(_key("o", "none", GREY, "published"))
    if any(point.measured for point in shown):
        handles.append(_key("o", COLORS[0], INK, "measured"))
    if any(point.scenes for point in shown):
        handles.append(Patch(facecolor="white", edgecolor=INK, hatch="//////", label="on scenes"))
    handles.append(_key("D", COLORS[1], INK, "LeMoRe"))
    for macs in (1, 5, 20):
        width = (AREA_PER_GMAC * macs) ** 0.5
        handles.append(_key("o", "none", GREY, f"{macs} GMACs", width))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        borderpad=1.4,
        handletextpad=1,
    )


def _key(marker: str, face: str, edge: str, text: str, width: float = 6.0) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=marker,
        markersize=width,
        markerfacecolor=face,
        markeredgecolor=edge,
        label=text,
    )


def description(rows: list[Row], measured: Mapping[str, str]) -> str:
    """The figure in words, for those who cannot see it."""
    shown = points(rows, measured)
    own = [f"{p.label} {p.miou:.1f} % at {p.params:.2f} M" for p in shown if p.measured]
    scenes = " Measured on drawn scenes." if any(point.scenes for point in shown) else ""
    return (
        "Bubble chart of mIoU against parameters, bubble area by multiply-accumulates. "
        f"{len(shown) - len(own)} published models; measured: {', '.join(own) or 'none'}.{scenes}"
    )
