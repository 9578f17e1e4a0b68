"""Poles with what they carry: street lights, traffic lights, signs."""

from collections.abc import Callable

import numpy as np

from lemore.scenes.drawing.figures import Board
from lemore.scenes.drawing.space import Color, scaled


def pole(board: Board, tall: float, color: Color = (95, 98, 100)) -> None:
    board.shape([(-0.07, 0), (0.07, 0), (0.05, tall), (-0.05, tall)], color, "pole")
    board.shape([(0.02, 0), (0.07, 0), (0.05, tall), (0.02, tall)], scaled(color, 0.7), "pole")


def streetlight(board: Board, rng: np.random.Generator) -> None:
    tall = float(rng.uniform(5.0, 7.5))
    pole(board, tall)
    board.line(
        [(0, tall), (0.5, tall + 0.3), (1.2, tall + 0.3)], 0.09, (95, 98, 100), "streetlight"
    )
    board.shape(
        [(0.9, tall + 0.2), (1.7, tall + 0.2), (1.6, tall + 0.42), (0.9, tall + 0.38)],
        (190, 190, 180),
        "streetlight",
    )


def traffic_light(board: Board, rng: np.random.Generator) -> None:
    pole(board, 3.2, (70, 72, 74))
    board.shape(
        [(-0.22, 2.5), (0.22, 2.5), (0.22, 3.55), (-0.22, 3.55)], (32, 34, 34), "traffic light"
    )
    lit = int(rng.integers(3))
    for i, color in enumerate([(60, 220, 110), (245, 200, 60), (240, 45, 35)]):
        shown = color if i == lit else scaled(color, 0.25)
        board.oval((0, 2.7 + 0.32 * i), (0.13, 0.13), shown, "traffic light")


def sign(board: Board, rng: np.random.Generator) -> None:
    """A stop, warning, no-entry or direction sign on its pole."""
    pole(board, 2.6)
    draw: Callable[[Board], None] = [_stop, _warning, _no_entry, _direction][int(rng.integers(4))]
    draw(board)


def _polygon(middle: float, radius: float, corners: int, turn: float) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + turn
    return [(radius * float(np.cos(a)), middle + radius * float(np.sin(a))) for a in angles]


def _stop(board: Board) -> None:
    board.shape(_polygon(2.6, 0.42, 8, np.pi / 8), (240, 238, 232), "sign")
    board.shape(_polygon(2.6, 0.37, 8, np.pi / 8), (195, 25, 30), "sign")
    board.shape([(-0.25, 2.55), (0.25, 2.55), (0.25, 2.66), (-0.25, 2.66)], (240, 238, 232), "sign")


def _warning(board: Board) -> None:
    board.shape(_polygon(2.55, 0.5, 3, np.pi / 2), (200, 30, 32), "sign")
    board.shape(_polygon(2.55, 0.33, 3, np.pi / 2), (245, 240, 225), "sign")


def _no_entry(board: Board) -> None:
    board.oval((0, 2.6), (0.38, 0.38), (200, 25, 30), "sign")
    board.shape([(-0.27, 2.53), (0.27, 2.53), (0.27, 2.67), (-0.27, 2.67)], (245, 245, 240), "sign")


def _direction(board: Board) -> None:
    board.shape([(-0.55, 2.35), (0.55, 2.35), (0.55, 2.9), (-0.55, 2.9)], (30, 80, 160), "sign")
    board.shape(
        [
            (-0.1, 2.42),
            (0.1, 2.42),
            (0.1, 2.62),
            (0.3, 2.62),
            (0, 2.84),
            (-0.3, 2.62),
            (-0.1, 2.62),
        ],
        (245, 245, 245),
        "sign",
    )
