"""The visual comparison of detectors: a photo with its true boxes, and with each model's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lemore.reporting.boxes import choose_ink
from lemore.reporting.figures.comparison import show_pixels
from lemore.reporting.figures.style import add_banner, apply_style
from lemore.reporting.overlay import Color

COLUMN_INCHES = 3.0


@dataclass(frozen=True)
class Boxes:
    """The boxes of a picture, the surest first. corners: N 4, x1 y1 x2 y2 in pixels. texts: a
    label for each. colors: R, G, B of each."""

    corners: np.ndarray
    texts: tuple[str, ...]
    colors: tuple[Color, ...]


@dataclass(frozen=True)
class BoxExample:
    """One row of the figure. image: H W 3 uint8 RGB."""

    name: str
    image: np.ndarray
    truth: Boxes
    predictions: tuple[Boxes, ...]


def draw(examples: Sequence[BoxExample], models: Sequence[str], scenes: bool) -> Figure:
    """Draws one row per example. models: printed names, one per prediction."""
    ratios = [example.image.shape[0] / example.image.shape[1] for example in examples]
    height = sum(COLUMN_INCHES * ratio + 0.2 for ratio in ratios) + 0.3 + 0.3 * scenes
    columns = 1 + len(models)
    with apply_style():
        figure = Figure(figsize=(COLUMN_INCHES * columns, height), layout="constrained")
        grid = figure.subplots(len(examples), columns, squeeze=False, height_ratios=ratios)
        for line, example in zip(grid, examples, strict=True):
            _draw_example(line, example)
        for axes, title in zip(grid[0], ("Ground Truth", *models), strict=True):
            axes.set_title(title, fontsize=10, fontweight="bold")
        if scenes:
            add_banner(figure)
    return figure


def _draw_example(line: Sequence[Axes], example: BoxExample) -> None:
    shown = (example.truth, *example.predictions)
    remarks = [f"surest boxes: {len(found.texts)}" for found in example.predictions]
    for axes, boxes, remark in zip(line, shown, [example.name, *remarks], strict=True):
        show_pixels(axes, example.image, remark)
        for k in reversed(range(len(boxes.texts))):  # the surest lies above the others
            left, top, right, bottom = boxes.corners[k].tolist()
            pair = (boxes.colors[k], choose_ink(boxes.colors[k]))
            color, ink = ([channel / 255 for channel in rgb] for rgb in pair)
            look = {"fill": False, "edgecolor": color, "linewidth": 1.2}
            axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **look))
            around = {"facecolor": color, "edgecolor": "none", "pad": 0.6}
            text = axes.text(left, top, boxes.texts[k], fontsize=5, color=ink, bbox=around)
            text.set(va="bottom" if top > example.image.shape[0] / 20 else "top", clip_on=True)


def describe(examples: Sequence[BoxExample], models: Sequence[str], scenes: bool) -> str:
    """Describes the comparison in words, for those who cannot see it."""
    shown = ", ".join(example.name for example in examples)
    marked = " The images are drawn scenes, not photographs." if scenes else ""
    return (
        f"Boxes in {shown}: the true ones, and of {', '.join(models)} as many of the surest ones "
        f"as the image has objects, each with its class and score.{marked}"
    )
