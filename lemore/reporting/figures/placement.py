"""Labels beside points, so that they cover neither one another nor the points."""

from collections.abc import Iterator, Sequence
from math import cos, pi, sin

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

DISTANCES = (2.0, 8.0, 15.0, 24.0, 34.0, 46.0)  # points from the marker's edge
DIRECTIONS = 16
LEADER_FROM = 8.0  # a label this far from its marker gets a line


def place_labels(
    axes: Axes,
    xy: Sequence[tuple[float, float]],
    radii: Sequence[float],
    texts: Sequence[tuple[str, dict]],
) -> list[Annotation]:
    """Annotates points in order, each at the free position nearest to it.

    xy: data coordinates of all markers; radii: their radii in points. texts: text and properties
    of the labels of the first `len(texts)` markers. The layout must be final when this is called.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    scale = figure.dpi / 72
    centres = [tuple(axes.transData.transform(point)) for point in xy]
    taken = [_make_box(c, r * scale, r * scale) for c, r in zip(centres, radii, strict=True)]
    inside = axes.get_window_extent(renderer)
    placed = []
    for i, (text, properties) in enumerate(texts):
        label = axes.annotate(
            text, xy[i], (0, 0), textcoords="offset points", ha="center", va="center", **properties
        )
        size = label.get_window_extent(renderer)
        half = (size.width / 2 + 2.5 * scale, size.height / 2 + scale)
        options = list(_list_offsets(radii[i], half[0] / scale, half[1] / scale))
        offset, far = min(
            options, key=lambda o: _rate_place(o, centres[i], half, taken, inside, scale)
        )
        label.set_position(offset)
        if far >= LEADER_FROM:
            _draw_leader(axes, xy[i], offset, radii[i], (half[0] / scale, half[1] / scale))
        taken.append(_make_label_box(centres[i], offset, half, scale))
        placed.append(label)
    return placed


def _list_offsets(
    radius: float, half_width: float, half_height: float
) -> Iterator[tuple[tuple[float, float], float]]:
    """Lists (offset of the label's centre, free distance to the marker), all in points."""
    for distance in DISTANCES:
        for k in range(DIRECTIONS):
            x, y = cos(2 * pi * k / DIRECTIONS), sin(2 * pi * k / DIRECTIONS)
            reach = radius + distance
            yield (x * (reach + half_width), y * (reach + half_height)), distance


def _rate_place(option, centre, half, taken: list[Bbox], inside: Bbox, scale: float) -> float:
    offset, distance = option
    box = _make_label_box(centre, offset, half, scale)
    covered = sum(_measure_overlap(box, other) for other in taken)
    outside = box.width * box.height - _measure_overlap(box, inside)
    return 10 * covered + 10 * outside + distance * scale


def _make_label_box(centre, offset, half, scale: float) -> Bbox:
    return _make_box((centre[0] + offset[0] * scale, centre[1] + offset[1] * scale), *half)


def _make_box(centre, half_width: float, half_height: float) -> Bbox:
    x, y = centre
    return Bbox.from_extents(x - half_width, y - half_height, x + half_width, y + half_height)


def _measure_overlap(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return width * height if width > 0 and height > 0 else 0.0


def _draw_leader(axes: Axes, xy, offset, radius: float, half) -> None:
    """Draws a thin line from the marker's edge to the nearest edge of the label."""
    end = tuple(part - max(-h, min(h, part)) for part, h in zip(offset, half, strict=True))
    line = {"arrowstyle": "-", "color": "#999999", "lw": 0.5, "shrinkA": 0, "shrinkB": radius}
    axes.annotate("", xy, end, textcoords="offset points", arrowprops=line)
