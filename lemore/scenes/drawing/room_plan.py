"""The plan of a room: its box, what stands in it, what hangs on its walls."""

from collections.abc import Callable

import numpy as np

from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.solids import quad
from lemore.scenes.drawing.space import Face


class Room:
    """`half` width, `high` and depth `deep` in metres; the camera stands at the origin."""

    def __init__(
        self, canvas: Canvas, rng: np.random.Generator, half: float, high: float, deep: float
    ):
        self.canvas, self.rng = canvas, rng
        self.half, self.high, self.deep = half, high, deep
        self.shift = float(rng.uniform(-0.4, 0.4)) * half
        self.left, self.right = self.shift - half, self.shift + half
        self.items: list[tuple[float, Callable[[], None]]] = []

    def add(self, parts: list[list[Face]], x: float, z: float, yaw: float, reach: float) -> None:
        """Furniture at (x, z), turned; `reach` is its size in metres, for its shadow."""

        def paint() -> None:
            floor = [(x - reach, 0.01, z - 0.5), (x + reach, 0.01, z - 0.5)]
            floor += [(x + reach, 0.01, z + 0.5), (x - reach, 0.01, z + 0.5)]
            self.canvas.shadow(np.array(floor), 0.35, 0.1 * self.canvas.camera.focal / max(z, 1))
            self.place(parts, x, z, yaw)

        self.items.append((z, paint))

    def place(
        self, parts: list[list[Face]], x: float, z: float, yaw: float, y: float = 0.0
    ) -> None:
        """Parts of one piece, far ones first; the given order decides between equals."""
        turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
        far = []
        for part in parts:
            middle = np.mean([face.points.mean(0) for face in part], axis=0)
            far.append(round(float((turn @ middle[[0, 2]])[1]) - 0.2 * float(middle[1]), 1))
        for i in sorted(range(len(parts)), key=lambda i: -far[i]):
            self.canvas.solid(parts[i], (x, y, z), yaw)

    def wall_quad(
        self, wall: str, along: tuple[float, float], up: tuple[float, float]
    ) -> np.ndarray:
        """Corners on a wall, top left first; `along` is x on the back wall, z on the others."""
        (a0, a1), (y0, y1) = along, up
        if wall == "back":
            return quad(
                (a0, y1, self.deep), (a1, y1, self.deep), (a1, y0, self.deep), (a0, y0, self.deep)
            )
        if wall == "left":
            x = self.left
            return quad((x, y1, a0), (x, y1, a1), (x, y0, a1), (x, y0, a0))
        x = self.right
        return quad((x, y1, a1), (x, y1, a0), (x, y0, a0), (x, y0, a1))

    def hang(
        self,
        wall: str,
        along: tuple[float, float],
        up: tuple[float, float],
        texture: np.ndarray,
        word: str,
    ) -> None:
        """A texture on a wall, shaded like it, with a soft shadow below."""
        corners = self.wall_quad(wall, along, up)
        margin = corners + np.array([0, -0.05, 0])
        self.canvas.shadow(margin, 0.25, 2.0)
        factor = 1.0 if word == "window" else self.canvas.shade(self.normal(wall))
        self.canvas.textured(corners, texture * np.float32(factor), word, 0.03, 5.0)

    @staticmethod
    def normal(wall: str) -> np.ndarray:
        return np.array({"back": (0, 0, -1), "left": (1, 0, 0), "right": (-1, 0, 0)}[wall], float)
