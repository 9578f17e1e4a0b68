"""Trees and bushes."""

import numpy as np

from lemore.scenes.drawing.figures import Board
from lemore.scenes.drawing.space import Color, scaled
from lemore.scenes.drawing.textures import jitter, pick

LEAVES: list[Color] = [(70, 105, 45), (95, 120, 50), (50, 85, 45), (120, 125, 55), (150, 110, 50)]


def tree(board: Board, rng: np.random.Generator, tall: float) -> None:
    """A broadleaf tree or a conifer: lit from above, holes at its edge."""
    if not board.visible(0.5 * tall):
        return
    leaf, trunk = jitter(rng, pick(rng, LEAVES), 0.2), jitter(rng, (88, 70, 52), 0.2)
    board.ground_shadow(0.3 * tall, 0.8, 0.35)
    thick = 0.035 * tall
    board.shape(
        [(-thick, 0), (thick, 0), (thick * 0.6, tall * 0.6), (-thick * 0.6, tall * 0.6)],
        trunk,
        "tree",
        0.15,
    )
    if rng.random() < 0.25:
        for part in np.linspace(0.2, 0.85, 6):
            half = 0.26 * tall * (1.05 - part)
            points = [(-half, part * tall), (half, part * tall), (0, min(1.0, part + 0.28) * tall)]
            board.shape(points, scaled(leaf, 0.55 + 0.5 * part), "tree", 0.22)
        return
    for side in (-1, 1):
        board.line([(0, 0.4 * tall), (side * 0.16 * tall, 0.66 * tall)], thick, trunk, "tree")
    _foliage(board, rng, (0.0, 0.68 * tall), (0.3 * tall, 0.3 * tall), leaf, "tree")


def bush(board: Board, rng: np.random.Generator, tall: float) -> None:
    board.ground_shadow(0.7 * tall)
    leaf = jitter(rng, pick(rng, LEAVES[:3]), 0.2)
    _foliage(board, rng, (0.0, 0.5 * tall), (0.75 * tall, 0.42 * tall), leaf, "bush")


def _foliage(
    board: Board,
    rng: np.random.Generator,
    middle: tuple[float, float],
    radii: tuple[float, float],
    leaf: Color,
    word: str,
) -> None:
    count = int(np.clip(radii[1] * board.factor * 0.7, 8, 60))
    angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    across, up = radii[0] * reach * np.cos(angle), radii[1] * reach * np.sin(angle)
    for i in np.argsort(up):  # lower ones first, the lit tops over them
        size = float(rng.uniform(0.16, 0.34)) * radii[1]
        light = 0.72 + 0.38 * float(up[i] / radii[1]) + float(rng.uniform(-0.12, 0.12))
        at = (middle[0] + float(across[i]), middle[1] + float(up[i]))
        board.oval(at, (size * 1.2, size), scaled(leaf, max(light, 0.3)), word, 0.24)
