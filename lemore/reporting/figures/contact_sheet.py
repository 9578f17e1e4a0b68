"""A contact sheet: samples of a dataset beside their label maps, with a legend."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from lemore.reporting.figures.comparison import Example, make_legend, show_pixels
from lemore.reporting.figures.style import add_banner, add_legend, apply_style
from lemore.reporting.overlay import Color, draw_overlay

CELL_INCHES = 1.7  # width of one picture
PAIRS = 4  # samples side by side, each as image and label map
LEGEND_COLUMNS = 8


def draw(
    examples: Sequence[Example],
    names: Sequence[str],
    colors: Sequence[Color],
    title: str,
    scenes: bool,
) -> Figure:
    """Draws image and overlay of every segmentation example. names, colors: by train id."""
    pairs = min(PAIRS, len(examples))
    rows = -(-len(examples) // pairs)
    patches = make_legend(examples, names, colors)
    legend_inches = 0.3 + 0.17 * -(-len(patches) // LEGEND_COLUMNS)
    ratio = max(e.image.shape[0] / e.image.shape[1] for e in examples)
    size = (2 * pairs * CELL_INCHES, rows * (CELL_INCHES * ratio + 0.2) + legend_inches + 0.4)
    with apply_style():
        figure, grid = _make_grid(size, 2 * pairs, 2 * len(examples), title, scenes)
        for i, example in enumerate(examples):
            row, column = divmod(i, pairs)
            show_pixels(grid[row][2 * column], example.image, example.name)
            overlay = draw_overlay(example.image, example.label, colors)
            show_pixels(grid[row][2 * column + 1], overlay, "")
        add_legend(figure, patches, LEGEND_COLUMNS, fontsize=7)
    return figure


def draw_classified(examples: Sequence[tuple[Any, str]], title: str, scenes: bool) -> Figure:
    """Draws classification images with captions; examples: (image H W 3 uint8, caption)."""
    columns = min(2 * PAIRS, len(examples))
    rows = -(-len(examples) // columns)
    with apply_style():
        size = (columns * CELL_INCHES, rows * (CELL_INCHES + 0.2) + 0.4)
        figure, grid = _make_grid(size, columns, len(examples), title, scenes)
        for i, (image, caption) in enumerate(examples):
            show_pixels(grid[i // columns][i % columns], image, caption)
    return figure


def _make_grid(
    size: tuple[float, float], columns: int, cells: int, title: str, scenes: bool
) -> tuple[Figure, Any]:
    """Makes a figure and its axes, of which `cells` are used."""
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(-(-cells // columns), columns, squeeze=False)
    for axes in grid.flat[cells:]:
        axes.axis("off")
    if scenes:
        add_banner(figure, f"scenes: {title}")
    else:
        figure.suptitle(title, fontsize=9)
    return figure, grid
