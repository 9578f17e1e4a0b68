"""The visual comparison: image, ground truth and the models' predictions side by side.

The region in which the models differ most is framed, and enlarged below.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch, Rectangle

from lemore.reporting.figures.region import SHARE, Region, differing_region
from lemore.reporting.figures.style import GREY, INK, scenes_banner, styled
from lemore.reporting.overlay import COLOR_SHARE, overlay

COLUMN_INCHES = 2.3
LEGEND_COLUMNS = 6


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
    colors: Sequence[tuple[int, int, int]],
    scenes: bool,
) -> Figure:
    """One row per example, columns Image, Ground Truth and the models.

    models: printed names, one per prediction. names, colors: of the classes, by train id. The
    legend has the classes that appear in a label or a prediction of these examples.
    """
    columns = 2 + len(models)
    regions = [differing_region(e.predictions, e.label, len(colors)) for e in examples]
    heights = _heights(examples, regions)
    legend = legend_patches(examples, names, colors)
    ncols = min(LEGEND_COLUMNS, 2 * columns - 2)
    rows = -(-len(legend) // ncols)
    height = sum(COLUMN_INCHES * h + 0.2 for h in heights) + 0.3 + 0.17 * rows + 0.3 * scenes
    with styled():
        layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03, wspace=0.01, hspace=0.01)
        figure = Figure(figsize=(COLUMN_INCHES * columns, height), layout=layout)
        grid = figure.subplots(
            len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": heights}
        )
        lines = iter(grid)
        for example, region in zip(examples, regions, strict=True):
            _row(next(lines), example, colors, region)
            if region:
                _enlarged(next(lines), example, colors, region)
        for axes, title in zip(grid[0], ("Image", "Ground Truth", *models), strict=True):
            axes.set_title(title, fontsize=10, fontweight="bold")
        figure.legend(
            handles=legend, loc="outside lower center", ncols=ncols, fontsize=7, handlelength=1.4
        )
        if scenes:
            scenes_banner(figure)
    return figure


def _heights(examples: Sequence[Example], regions: Sequence[Region | None]) -> list[float]:
    """Of the figure's rows, relative to a column's width."""
    heights = []
    for example, region in zip(examples, regions, strict=True):
        ratio = example.image.shape[0] / example.image.shape[1]
        heights += [ratio, ratio * SHARE[0] / SHARE[1]] if region else [ratio]
    return heights


def _row(
    axes: Sequence[Axes],
    example: Example,
    colors: Sequence[tuple[int, int, int]],
    region: Region | None,
) -> None:
    for cell, pixels, text in zip(
        axes, _pictures(example, colors), _texts(example, colors), strict=True
    ):
        show(cell, pixels, text)
        if region:
            _frame(cell, region)


def _pictures(example: Example, colors: Sequence[tuple[int, int, int]]) -> list[np.ndarray]:
    """Image, then ground truth and predictions over it."""
    maps = (example.label, *example.predictions)
    return [example.image, *(overlay(example.image, m, colors) for m in maps)]


def _texts(example: Example, colors: Sequence[tuple[int, int, int]]) -> list[str]:
    """What stands below the image, the ground truth and each prediction."""
    texts = [example.name, ""]
    for prediction in example.predictions:
        value = image_miou(prediction, example.label, len(colors))
        known = value is not None
        texts.append(f"mIoU of this image {100 * value:.1f} %" if known else "nothing labelled")
    return texts


def _frame(axes: Axes, region: Region) -> None:
    """A black and white dashed frame, visible on every ground."""
    top, left, height, width = region
    corner = (left - 0.5, top - 0.5)
    for color, style in (("white", "-"), ("black", (0, (4, 3)))):
        look = {"fill": False, "edgecolor": color, "lw": 1.6, "linestyle": style}
        axes.add_patch(Rectangle(corner, width, height, **look))


def _enlarged(
    axes: Sequence[Axes], example: Example, colors: Sequence[tuple[int, int, int]], region: Region
) -> None:
    top, left, height, width = region
    part = (slice(top, top + height), slice(left, left + width))
    texts = ["framed region, enlarged", *[""] * (len(axes) - 1)]
    for cell, pixels, text in zip(axes, _pictures(example, colors), texts, strict=True):
        show(cell, pixels[part], text)
        for spine in cell.spines.values():
            spine.set(visible=True, linewidth=1.2, linestyle=(0, (4, 3)), color="black")


def show(axes: Axes, pixels: np.ndarray, below: str) -> None:
    axes.imshow(pixels, interpolation="nearest" if pixels.shape[0] < 200 else "auto")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(below, fontsize=6.5, color=GREY if below else INK, labelpad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)


def image_miou(prediction: np.ndarray, label: np.ndarray, num_classes: int) -> float | None:
    """Mean IoU (fraction) over the classes in this image's label or prediction, labelled pixels.

    None if nothing is labelled. Not comparable with a data set's mIoU, which sums over images.
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


def legend_patches(
    examples: Sequence[Example], names: Sequence[str], colors: Sequence[tuple[int, int, int]]
) -> list[Patch]:
    maps = [m for example in examples for m in (example.label, *example.predictions)]
    present = np.unique(np.concatenate([np.unique(m) for m in maps]))
    patches = []
    for k in present[present < len(names)]:
        red, green, blue = (
            COLOR_SHARE * channel / 255 + (1 - COLOR_SHARE) * 0.5 for channel in colors[k]
        )
        patches.append(Patch(facecolor=(red, green, blue), edgecolor=INK, lw=0.4, label=names[k]))
    if (present >= len(names)).any():
        patches.append(
            Patch(facecolor="white", edgecolor="black", hatch="//////", lw=0.4, label="ignored")
        )
    return patches


def description(examples: Sequence[Example], models: Sequence[str], scenes: bool) -> str:
    """The comparison in words, for those who cannot see it."""
    shown = ", ".join(example.name for example in examples)
    marked = " The images are drawn scenes, not photographs." if scenes else ""
    return (
        f"Segmentation maps of {shown}: the image, its ground truth and the predictions of "
        f"{', '.join(models)}, classes by colour; the region in which the predictions differ most "
        f"is framed, and enlarged below.{marked}"
    )
