"""The visual comparison: image, ground truth and the models' predictions side by side.

The region in which the models differ most is framed, and enlarged below.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch, Rectangle

from lemore.reporting.figures.style import GREY, INK, add_banner, add_legend, apply_style
from lemore.reporting.overlay import COLOR_SHARE, Color, draw_overlay

COLUMN_INCHES = 2.3
LEGEND_COLUMNS = 6
SHARE = (1 / 3, 1 / 2)  # of the image's height and width; twice as large when enlarged to the width

Region = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Example:
    """One row of the figure. image H W 3 uint8; label and predictions H W uint8 train ids."""

    name: str
    image: np.ndarray
    label: np.ndarray
    predictions: tuple[np.ndarray, ...]


def draw(
    examples: Sequence[Example],
    models: Sequence[str],
    names: Sequence[str],
    colors: Sequence[Color],
    scenes: bool,
) -> Figure:
    """Draws one row per example, with columns Image, Ground Truth and the models.

    models: printed names, one per prediction. names, colors: of the classes, by train id. The
    legend has the classes that appear in a label or a prediction of these examples.
    """
    columns = 2 + len(models)
    regions = [find_region(e.predictions, e.label, len(colors)) for e in examples]
    heights = []  # of the rows, relative to a column's width
    for example, region in zip(examples, regions, strict=True):
        ratio = example.image.shape[0] / example.image.shape[1]
        heights += [ratio, ratio * SHARE[0] / SHARE[1]] if region else [ratio]
    legend = make_legend(examples, names, colors)
    ncols = min(LEGEND_COLUMNS, 2 * columns - 2)
    rows = -(-len(legend) // ncols)
    height = sum(COLUMN_INCHES * h + 0.2 for h in heights) + 0.3 + 0.17 * rows + 0.3 * scenes
    with apply_style():
        layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03, wspace=0.01, hspace=0.01)
        figure = Figure(figsize=(COLUMN_INCHES * columns, height), layout=layout)
        grid = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
        lines = iter(grid)
        for example, region in zip(examples, regions, strict=True):
            _draw_example(lines, example, colors, region)
        for axes, title in zip(grid[0], ("Image", "Ground Truth", *models), strict=True):
            axes.set_title(title, fontsize=10, fontweight="bold")
        add_legend(figure, legend, ncols, fontsize=7, handlelength=1.4)
        if scenes:
            add_banner(figure)
    return figure


def _draw_example(
    lines: Iterator[Any], example: Example, colors: Sequence[Color], region: Region | None
) -> None:
    """Draws a line of the image, then ground truth and predictions over it, with its region framed.

    The next line has the region, enlarged.
    """
    maps = (example.label, *example.predictions)
    pictures = [example.image, *(draw_overlay(example.image, m, colors) for m in maps)]
    mious = [describe_miou(p, example.label, len(colors)) for p in example.predictions]
    whole = next(lines)
    for cell, pixels, text in zip(whole, pictures, [example.name, "", *mious], strict=True):
        show_pixels(cell, pixels, text)
    if region is None:
        return
    top, left, height, width = region
    part = (slice(top, top + height), slice(left, left + width))
    texts = ["framed region, enlarged", *[""] * len(maps)]
    for cell, below, pixels, text in zip(whole, next(lines), pictures, texts, strict=True):
        _draw_frame(cell, region)
        show_pixels(below, pixels[part], text)
        below.spines[:].set(visible=True, linewidth=1.2, linestyle=(0, (4, 3)), color="black")


def _draw_frame(axes: Axes, region: Region) -> None:
    """Draws a black and white dashed frame, visible on every background."""
    top, left, height, width = region
    corner = (left - 0.5, top - 0.5)
    for color, style in (("white", "-"), ("black", (0, (4, 3)))):
        look = {"fill": False, "edgecolor": color, "lw": 1.6, "linestyle": style}
        axes.add_patch(Rectangle(corner, width, height, **look))


def show_pixels(axes: Axes, pixels: np.ndarray, below: str) -> None:
    axes.imshow(pixels, interpolation="nearest" if pixels.shape[0] < 200 else "auto")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(below, fontsize=6.5, color=GREY if below else INK, labelpad=2)
    axes.spines[:].set_visible(False)


def measure_miou(prediction: np.ndarray, label: np.ndarray, num_classes: int) -> float | None:
    """Computes mean IoU (fraction) over the classes in this image's label or prediction.

    Counts labelled pixels; None if there are none. A data set's mIoU, over summed counts, differs.
    """
    if prediction.shape != label.shape:
        raise ValueError(
            f"a prediction of {prediction.shape} for a label map of {label.shape}; evaluation "
            "writes predictions at the label's size"
        )
    counted = label < num_classes
    p, t = prediction[counted], label[counted]
    values = [
        float(((p == k) & (t == k)).sum() / ((p == k) | (t == k)).sum())
        for k in np.union1d(p, t)
        if k < num_classes
    ]
    return sum(values) / len(values) if values else None


def describe_miou(prediction: np.ndarray, label: np.ndarray, num_classes: int) -> str:
    """Returns the line of text beside a prediction."""
    miou = measure_miou(prediction, label, num_classes)
    return "nothing labelled" if miou is None else f"mIoU of this image {100 * miou:.1f} %"


def make_legend(
    examples: Sequence[Example], names: Sequence[str], colors: Sequence[Color]
) -> list[Patch]:
    maps = [m for example in examples for m in (example.label, *example.predictions)]
    present = np.unique(np.concatenate([np.unique(m) for m in maps]))
    patches = []
    for k in present[present < len(names)]:
        red, green, blue = (COLOR_SHARE * c / 255 + (1 - COLOR_SHARE) * 0.5 for c in colors[k])
        patches.append(Patch(facecolor=(red, green, blue), edgecolor=INK, lw=0.4, label=names[k]))
    if (present >= len(names)).any():
        look = {"facecolor": "white", "edgecolor": "black", "hatch": "//////", "lw": 0.4}
        patches.append(Patch(**look, label="ignored"))
    return patches


def describe(examples: Sequence[Example], models: Sequence[str], scenes: bool) -> str:
    """Describes the comparison in words, for those who cannot see it."""
    shown = ", ".join(example.name for example in examples)
    marked = " The images are drawn scenes, not photographs." if scenes else ""
    return (
        f"Segmentation maps of {shown}: the image, its ground truth and the predictions of "
        f"{', '.join(models)}, classes by colour; the region in which the predictions differ most "
        f"is framed, and enlarged below.{marked}"
    )


def find_region(
    predictions: Sequence[np.ndarray], label: np.ndarray, num_classes: int
) -> Region | None:
    """Finds the window with the most labelled pixels where models disagree; None if they agree.

    predictions, label: H x W train ids. A single model is compared with the label.
    """
    maps = list(predictions) if len(predictions) > 1 else [*predictions, label]
    differ = np.zeros(label.shape, dtype=bool)
    for other in maps[1:]:
        differ |= other != maps[0]
    differ &= label < num_classes
    if not differ.any():
        return None
    height, width = (max(round(s * side), 1) for s, side in zip(SHARE, label.shape, strict=True))
    # the number of set pixels in every window, by its upper left corner
    total = np.pad(differ.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    rows = total[height:] - total[:-height]
    counts = rows[:, width:] - rows[:, :-width]
    top, left = np.unravel_index(counts.argmax(), counts.shape)
    return int(top), int(left), height, width
