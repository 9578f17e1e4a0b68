"""Training curves: loss, and mIoU or AP50 on the validation split, by iteration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lemore.reporting.figures import style
from lemore.reporting.figures.style import INK

LOSS = "train/loss"
VALIDATED = {"val/mIoU": "mIoU", "val/AP50": "AP50"}  # fractions, by task
FEWEST_POINTS, MOST_POINTS = 10, 60  # of a line of losses; more are averaged
LEGEND_COLUMNS = 4

Points = tuple[np.ndarray, np.ndarray]  # iterations, values


@dataclass(frozen=True)
class RecordedTraining:
    """One training. rows: {"step", "metrics"} in the order of their steps, as training wrote them.

    name: printed name of its model.
    """

    name: str
    seed: int
    rows: Sequence[Mapping[str, Any]]


def draw(trainings: Sequence[RecordedTraining], scenes: bool) -> Figure:
    """Draws the loss and what the trainings have validated, mIoU or AP50, if anything.

    Seeds are thin, their mean thick. A model's look follows from its place in `trainings`, as in
    the figure of classes. ValueError if no training has a loss.
    """
    panels = [(LOSS, "training loss", 1.0)]
    panels += [(k, f"{name} on the validation split (%)", 100.0) for k, name in VALIDATED.items()]
    found = [(key, label, group_by_model(trainings, key, factor)) for key, label, factor in panels]
    found = [panel for panel in found if panel[2]]
    if not found or found[0][0] != LOSS:
        raise ValueError("no training recorded a loss: no curves to draw")
    last = found[-1][2]  # the models by the end of its mean lines, as they end on the right
    order = sorted(last, key=lambda name: -float(average_lines(last[name])[1][-1]))
    looks = {name: k for k, name in enumerate(dict.fromkeys(one.name for one in trainings))}
    with style.apply_style():
        size = (4.2 * len(found) + 0.4, 3.3 + 0.18 * -(-len(order) // LEGEND_COLUMNS))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(1, len(found), squeeze=False)[0]
        for axes, (key, label, models) in zip(grid, found, strict=True):
            for name in order:
                _draw_lines(axes, models.get(name, []), looks[name], name, markers=key != LOSS)
            axes.set(xlabel="iteration", ylabel=label, xlim=(0, None))
            axes.grid()
        handles, _ = figure.axes[-1].get_legend_handles_labels()
        style.add_legend(figure, handles, min(len(order), LEGEND_COLUMNS), handlelength=3.5)
        if scenes:
            style.add_banner(figure)
    return figure


def group_by_model(
    trainings: Sequence[RecordedTraining], key: str, factor: float = 1.0
) -> dict[str, list[Points]]:
    """Groups the lines of a metric, one per seed, by model."""
    models: dict[str, list[Points]] = {}
    for training in trainings:
        rows = [row for row in training.rows if key in row["metrics"]]
        if rows:
            steps = np.array([row["step"] for row in rows], dtype=float)
            values = factor * np.array([row["metrics"][key] for row in rows], dtype=float)
            line = _thin_out(steps, values) if key == LOSS else (steps, values)
            models.setdefault(training.name, []).append(line)
    return models


def average_lines(lines: Sequence[Points]) -> Points:
    """Averages over the seeds, at the iterations that all of them have."""
    steps = lines[0][0]
    for other, _ in lines[1:]:
        steps = np.intersect1d(steps, other)
    values = [line[np.isin(own, steps)] for own, line in lines]
    return steps, np.mean(values, axis=0)


def _thin_out(steps: np.ndarray, values: np.ndarray) -> Points:
    """Averages equal spans of iterations, at their ends; few points stay as they are.

    A row is the mean of the iterations since the previous row, and is weighted by their number.
    """
    number = min(len(steps) // 2, MOST_POINTS)
    if number < FEWEST_POINTS:
        return steps, values
    ends = np.linspace(0, steps[-1], number + 1)[1:]
    span = np.minimum(np.searchsorted(ends, steps), number - 1)
    weights = np.diff(steps, prepend=0)
    covered = np.bincount(span, weights, number)
    means = np.bincount(span, weights * values, number) / np.maximum(covered, 1)
    return ends[covered > 0], means[covered > 0]


def _draw_lines(axes: Axes, lines: Sequence[Points], k: int, name: str, markers: bool) -> None:
    if not lines:
        return
    look: dict[str, Any] = {"color": style.pick_color(k), "linestyle": style.pick_dashes(k)}
    if len(lines) > 1:
        for steps, values in lines:
            axes.plot(steps, values, linewidth=0.6, alpha=0.6, **look)
    if markers:
        look |= {"marker": "osD^vPX*"[k % 8], "markersize": 4, "mec": INK, "mew": 0.4}
    seeds = f", {len(lines)} seeds" if len(lines) > 1 else ""
    steps, values = average_lines(lines)
    axes.plot(steps, values, linewidth=1.7, label=f"{name}{seeds}", **look)


def describe(trainings: Sequence[RecordedTraining], dataset: str, scenes: bool) -> str:
    """Describes the curves in words, for those who cannot see them."""
    parts = []
    validated = {name: group_by_model(trainings, key, 100.0) for key, name in VALIDATED.items()}
    for name, lines in group_by_model(trainings, LOSS).items():
        loss = average_lines(lines)[1]
        text = f"{name} loss {loss[0]:.2f} to {loss[-1]:.2f}"
        for measure, models in validated.items():
            if name in models:
                last = average_lines(models[name])[1][-1]
                text += f", validation {measure} {last:.1f} % at the end"
        parts.append(text)
    return (
        f"Training curves on {dataset} by iteration: {'; '.join(parts)}."
        f"{' Trained on drawn scenes.' if scenes else ''}"
    )
