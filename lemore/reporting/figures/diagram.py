"""The drawing of a network's part from its traced graph: boxes in a row, with their tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from lemore.reporting.figures.style import GREY, INK, apply_style

# face colours: convolutions, norms, activations and everything else
FACES = {"convolution": "#BFD3EA", "norm": "#E3E3E3", "activation": "#F6D9A8", "other": "#F3F3F3"}
STEP, HEIGHT = 1.0, 2.6  # from box to box, and of a box


@dataclass(frozen=True)
class Node:
    """One operation. inputs: indices of the nodes that it reads. shape: of its output, (C, H, W).

    kind: input, output, add, or a key of `FACES`. text: the text in its box.
    """

    kind: str
    text: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]


def draw(nodes: Sequence[Node], caption: str) -> Figure:
    """Draws boxes from left to right in the nodes' order; edges that skip boxes pass over them."""
    with apply_style():
        figure = Figure(figsize=(0.92 * len(nodes), 2.7))
        axes = figure.add_axes((0, 0, 1, 1))
        for i, node in enumerate(nodes):
            _draw_node(axes, node, i * STEP)
            for source in node.inputs:
                _draw_edge(axes, nodes, source, i)
        axes.text(-0.4, -1.5, caption, fontsize=7, color="#595959", va="top")
        axes.set(xlim=(-0.6, (len(nodes) - 0.4) * STEP), ylim=(-1.9, 1.9), aspect="auto")
        axes.axis("off")
    return figure


def _draw_node(axes: Axes, node: Node, x: float) -> None:
    if node.kind in ("input", "output"):
        axes.text(x, 0, node.text, ha="center", va="center", fontsize=12)
    elif node.kind == "add":
        axes.scatter(x, 0, s=260, facecolor="white", edgecolor=INK, lw=1.1, zorder=3)
        axes.text(x, 0, "+", ha="center", va="center", fontsize=12, zorder=4)
    else:
        corner = (x - 0.22, -HEIGHT / 2)
        look = {"facecolor": FACES[node.kind], "edgecolor": INK, "lw": 0.9, "zorder": 3}
        axes.add_patch(FancyBboxPatch(corner, 0.44, HEIGHT, boxstyle="round,pad=0.02", **look))
        axes.text(x, 0, node.text, rotation=90, ha="center", va="center", fontsize=8.5, zorder=4)


def _draw_edge(axes: Axes, nodes: Sequence[Node], source: int, target: int) -> None:
    """Draws an arrow with the shape of its tensor."""
    start = source * STEP + _find_half_width(nodes[source])
    end = target * STEP - _find_half_width(nodes[target])
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 0.9, "shrinkA": 0, "shrinkB": 0}
    if target == source + 1:
        axes.annotate("", (end, 0), (start, 0), arrowprops=arrow)
        text = "x".join(map(str, nodes[source].shape))
        middle = (start + end) / 2
        axes.text(middle, -0.1, text, ha="center", va="top", fontsize=5.5, color=GREY)
        return
    top, from_x, to_x = HEIGHT / 2 + 0.45, start + 0.1, target * STEP
    axes.plot([start, from_x, from_x, to_x], [0, 0, top, top], color=INK, lw=0.9)
    axes.annotate("", (to_x, _find_half_width(nodes[target])), (to_x, top), arrowprops=arrow)


def _find_half_width(node: Node) -> float:
    return 0.15 if node.kind == "add" else 0.25


def describe(nodes: Sequence[Node], caption: str) -> str:
    """Describes the drawing in words, for those who cannot see it."""
    words, steps = {"input": "input", "output": "output", "add": "addition"}, []
    for node in nodes:
        names = [nodes[i].text if nodes[i].kind != "input" else "the input" for i in node.inputs]
        shape = f" ({'x'.join(map(str, node.shape))})" if node.shape else ""
        of = f" of {' and '.join(names)}" if len(names) > 1 else ""
        steps.append(f"{words.get(node.kind, node.text)}{shape}{of}")
    return f"Diagram, left to right: {', then '.join(steps)}. {caption}"
