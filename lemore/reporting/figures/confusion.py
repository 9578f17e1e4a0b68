"""The confusion figure: how each class's pixels were predicted, as shares."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lemore.reporting.figures.style import INK, add_banner, apply_style
from lemore.reporting.tables.results import Result, group_by_name

MOST_MODELS = 4
MOST_CLASSES = 24  # of more classes, only the most confused are shown
SHOWN_CLASSES = 20
OTHER = "(other)"
CELL_INCHES = 0.24


def draw(evaluations: list[Result]) -> Figure:
    """Draws a panel per model, all seeds together; rows are labels, columns predictions, percent.

    Of more than four models it shows the best LeMoRe and the best others; of more than 24 classes,
    those that are confused most. ValueError if no pixel was labelled.
    """
    models = _choose_models(evaluations)
    labels = evaluations[0]["classes"]
    shown = find_most_confused(np.sum([*models.values()], axis=0))
    others = len(shown) < len(labels) or any(m[:, -1].any() for m in models.values())
    columns = min(2, len(models))
    rows = ceil(len(models) / columns)
    width = CELL_INCHES * (len(shown) + others)
    with apply_style():
        size = (columns * (width + 0.25) + 1.6, rows * (CELL_INCHES * len(shown) + 0.3) + 1.6)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(models) :]:
            axes.set_visible(False)
        for axes, (name, matrix) in zip(grid.flat, models.items(), strict=False):
            _draw_panel(axes, compute_shares(matrix, shown, others), name)
        ticks = [labels[k] for k in shown]
        for axes in grid[:, 0]:
            axes.set_yticks(range(len(shown)), ticks, fontsize=6.5)
            axes.set_ylabel("label")
        for k, axes in enumerate(grid[-1]):
            low = axes if axes.get_visible() else grid[-2][k]
            names = ticks + [OTHER] * others
            low.set_xticks(range(len(names)), names, fontsize=6.5, rotation=90)
            low.tick_params(labelbottom=True)
        figure.supxlabel("predicted, % of the label's pixels", fontsize=8)
        if any(result["scenes"] for result in evaluations):
            add_banner(figure)
    return figure


def _choose_models(evaluations: list[Result]) -> dict[str, np.ndarray]:
    """Chooses the models to show: matrices K x (K + 1) by printed name, summed over seeds."""
    models = group_by_name(evaluations)
    matrices = {
        name: np.sum([seed["confusion"] for seed in seeds], axis=0, dtype=float)
        for name, seeds in models.items()
    }
    if not any(matrix.any() for matrix in matrices.values()):
        raise ValueError(f"{evaluations[0]['file']}: no pixel was labelled, no confusion to draw")
    means = {name: np.mean([seed["miou"] for seed in seeds]) for name, seeds in models.items()}
    ranked = sorted(models, key=lambda name: -means[name])
    ours = [name for name in ranked if models[name][0]["model"].startswith("lemore")][:1]
    kept = [*ours, *(name for name in ranked if name not in ours)][:MOST_MODELS]
    return {name: matrix for name, matrix in matrices.items() if name in kept}


def find_most_confused(matrix: np.ndarray) -> list[int]:
    """Finds the classes to show of a matrix K x (K + 1): all, or the most confused pairs.

    Pairs are ranked by the pixels of one that were predicted as the other, either way, relative to
    the pixels of both: a rare class lost in a frequent one says little about their likeness.
    """
    square = matrix[:, :-1]
    number = len(square)
    if number <= MOST_CLASSES:
        return list(range(number))
    size = matrix.sum(axis=1)
    both = np.maximum(size[:, None] + size[None], 1)
    likeness = np.triu((square + square.T) / both, 1)
    chosen: list[int] = []
    for index in np.argsort(-likeness, axis=None, kind="stable"):
        pair = [int(k) for k in np.unravel_index(index, likeness.shape) if k not in chosen]
        if len(chosen) + len(pair) > SHOWN_CLASSES:
            break
        chosen += pair
    return chosen


def compute_shares(matrix: np.ndarray, shown: Sequence[int], others: bool) -> np.ndarray:
    """Computes percent of each shown class's labelled pixels, by prediction; the last column has
    those predicted as none of the shown classes. nan where nothing was labelled."""
    part = matrix[np.ix_(shown, shown)]
    total = matrix[shown].sum(axis=1, keepdims=True)
    if others:
        part = np.hstack([part, total - part.sum(axis=1, keepdims=True)])
    return np.divide(100 * part, total, out=np.full(part.shape, np.nan), where=total > 0)


def _draw_panel(axes: Axes, shares: np.ndarray, name: str) -> None:
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="equal")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            if share >= 0.5:
                color = "white" if share > 55 else INK
                weight = "bold" if i == j else "normal"
                cell = axes.text(j, i, f"{share:.0f}", ha="center", va="center", color=color)
                cell.set(fontsize=5.5, fontweight=weight)
        if np.isnan(row).all():
            axes.text(0, i, "not labelled", va="center", fontsize=5.5, style="italic")
    axes.set_title(name, fontsize=8.5, fontweight="bold")
    axes.tick_params(length=0, labelbottom=False)
    axes.spines[:].set(visible=True, color="#C8C8C8")


def describe(evaluations: list[Result]) -> str:
    """Describes each model's largest confusions in words, for those who cannot see the figure."""
    models, labels = _choose_models(evaluations), evaluations[0]["classes"]
    parts = []
    for name, matrix in models.items():
        shares = compute_shares(matrix, range(len(labels)), False)
        np.fill_diagonal(shares, 0)
        largest = np.argsort(-np.nan_to_num(shares), axis=None, kind="stable")[:3]
        pairs = [np.unravel_index(index, shares.shape) for index in largest]
        said = [f"{labels[i]} as {labels[j]} {shares[i, j]:.0f} %" for i, j in pairs]
        parts.append(f"{name}: {', '.join(said)}")
    scenes = any(result["scenes"] for result in evaluations)
    return (
        f"Confusion matrices on {evaluations[0]['dataset']}, percent of each label's pixels. "
        f"Most often mistaken: {'; '.join(parts)}.{' Measured on drawn scenes.' if scenes else ''}"
    )
