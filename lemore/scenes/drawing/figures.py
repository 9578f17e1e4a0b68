"""Things drawn upright towards the camera: people, two-wheelers, a dog; and the board for it.

Each function stands at ground point (x, z) and draws in metres above it.
"""

import cv2
import numpy as np

from lemore.scenes.drawing.canvas import INDEX, Canvas
from lemore.scenes.drawing.space import Color, scaled
from lemore.scenes.drawing.textures import jitter, pick

SKINS: list[Color] = [(236, 196, 168), (205, 155, 120), (150, 100, 70), (95, 62, 45)]
CLOTHES: list[Color] = [
    *((40, 50, 90), (170, 40, 45), (60, 60, 62), (225, 220, 210), (60, 110, 80)),
    *((200, 160, 60), (110, 75, 130), (30, 30, 34), (120, 160, 190), (190, 110, 120)),
]


class Board:
    """An upright plane at (x, z): metres to the right and above it -> pixels."""

    def __init__(self, canvas: Canvas, x: float, z: float, base: float = 0.0, flip: bool = False):
        self.canvas, self.x, self.z, self.base = canvas, x, z, base
        self.sign = -1 if flip else 1
        self.factor = canvas.camera.focal / z  # pixels per metre

    def pixels(self, points: list[tuple[float, float]] | np.ndarray) -> np.ndarray:
        flat, camera = np.array(points, float), self.canvas.camera
        flat[:, 0] = camera.center + self.factor * (self.x + self.sign * flat[:, 0])
        flat[:, 1] = camera.horizon - self.factor * (self.base + flat[:, 1] - camera.height)
        return flat

    def shape(self, points: list[tuple[float, float]], color: Color, word: str, grain=0.05) -> None:
        self.canvas.polygon(self.pixels(points), color, word, grain, self.z)

    def oval(
        self,
        middle: tuple[float, float],
        radii: tuple[float, float],
        color: Color,
        word: str,
        grain: float = 0.05,
    ) -> None:
        camera = self.canvas.camera
        x = camera.center + self.factor * (self.x + self.sign * middle[0])
        y = camera.horizon - self.factor * (self.base + middle[1] - camera.height)
        size = (radii[0] * self.factor, radii[1] * self.factor)
        self.canvas.oval((x, y), size, color, word, grain, self.z)

    def visible(self, half: float) -> bool:
        """Whether something `half` metres to each side can be in the picture."""
        x = self.canvas.camera.center + self.factor * self.x
        return -half * self.factor < x < self.canvas.width + half * self.factor

    def line(
        self, points: list[tuple[float, float]], wide: float, color: Color, word: str, closed=False
    ) -> None:
        """A line `wide` metres thick, at least one drawn pixel."""
        corners = [np.round(self.pixels(points)).astype(np.int32)]
        thick = max(1, round(wide * self.factor))
        canvas = self.canvas
        cv2.polylines(canvas.image, corners, closed, color, thick)
        cv2.polylines(canvas.label, corners, closed, (INDEX[word],), thick)
        cv2.polylines(canvas.depth, corners, closed, (self.z,), thick)

    def ring(
        self, middle: tuple[float, float], radius: float, wide: float, color: Color, word: str
    ) -> None:
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        points = [(middle[0] + radius * np.cos(a), middle[1] + radius * np.sin(a)) for a in angles]
        self.line(points, wide, color, word, closed=True)

    def ground_shadow(self, half: float, deep: float = 0.35, strength: float = 0.4) -> None:
        angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        points = np.stack(
            [
                self.x + half * np.cos(angles),
                np.full(14, self.base + 0.01),
                self.z + deep * np.sin(angles),
            ],
            1,
        )
        self.canvas.shadow(points, strength, max(0.8, 0.06 * self.factor))


def person(
    board: Board, rng: np.random.Generator, word: str = "person", shade: float = 1.0
) -> None:
    """A standing or walking figure of 1.5 to 1.9 m."""
    tall = float(rng.uniform(1.5, 1.9))
    skin = scaled(pick(rng, SKINS), shade)
    top, bottom = (scaled(jitter(rng, pick(rng, CLOTHES), 0.2), shade) for _ in range(2))
    stride, hip, neck = float(rng.uniform(0.02, 0.24)), 0.5 * tall, 0.84 * tall
    board.ground_shadow(0.35)
    for side in (-1, 1):
        foot = side * stride
        leg = [
            (foot - 0.07, 0.04),
            (foot + 0.08, 0.04),
            (side * 0.06 + 0.08, hip),
            (side * 0.06 - 0.1, hip),
        ]
        board.shape(leg, scaled(bottom, 1.0 if side > 0 else 0.8), word)
        board.oval((foot + 0.05, 0.04), (0.11, 0.05), (30, 28, 28), word)
    if rng.random() < 0.3:  # skirt or coat
        board.shape(
            [(-0.24, 0.28 * tall), (0.24, 0.28 * tall), (0.16, hip + 0.1), (-0.16, hip + 0.1)],
            top,
            word,
        )
    swing = float(rng.uniform(-0.12, 0.16))
    for side in (-1, 1):
        hand = (side * 0.25 + side * swing, hip - 0.02)
        board.line(
            [(side * 0.2, neck - 0.08), (side * 0.27, 0.68 * tall), hand],
            0.1,
            scaled(top, 0.85),
            word,
        )
        board.oval(hand, (0.05, 0.06), skin, word)
    torso = [
        (-0.17, hip - 0.03),
        (0.17, hip - 0.03),
        (0.23, neck - 0.06),
        (0.08, neck),
        (-0.08, neck),
        (-0.23, neck - 0.06),
    ]
    board.shape(torso, top, word, 0.09)
    board.shape(
        [(0.05, hip), (0.17, hip), (0.22, neck - 0.08), (0.1, neck - 0.03)], scaled(top, 0.82), word
    )
    _head(board, rng, neck, skin, word, shade)
    if rng.random() < 0.3:
        board.oval((-0.2, hip + 0.25), (0.1, 0.2), jitter(rng, pick(rng, CLOTHES), 0.3), word)


def _head(
    board: Board, rng: np.random.Generator, neck: float, skin: Color, word: str, shade: float
) -> None:
    board.oval((0, neck + 0.03), (0.05, 0.07), scaled(skin, 0.85), word)
    board.oval((0, neck + 0.15), (0.09, 0.12), skin, word)
    hair = pick(rng, [(35, 25, 20), (90, 60, 35), (190, 160, 100), (120, 120, 120)])
    board.oval((-0.01, neck + 0.21), (0.095, 0.075), scaled(hair, shade), word)


def two_wheeler(board: Board, rng: np.random.Generator, word: str, rider: bool) -> None:
    """A bicycle or motorcycle seen from the side, with or without a rider."""
    heavy = word == "motorcycle"
    paint = jitter(rng, pick(rng, CLOTHES), 0.3)
    board.ground_shadow(0.9)
    radius, base = (0.31, 0.62) if heavy else (0.34, 0.52)
    for x in (-base, base):
        board.ring((x, radius), radius, 0.13 if heavy else 0.06, (25, 25, 27), word)
        board.oval((x, radius), (0.09, 0.09), (130, 130, 135), word)
    if heavy:
        board.shape([(-0.5, 0.3), (0.35, 0.25), (0.45, 0.6), (-0.35, 0.62)], (60, 60, 65), word)
        board.shape([(-0.2, 0.6), (0.42, 0.58), (0.5, 0.85), (0.1, 0.92)], paint, word)
        board.shape([(-0.75, 0.68), (-0.05, 0.62), (0.0, 0.78), (-0.7, 0.8)], (35, 32, 32), word)
        board.line([(base, radius), (0.42, 0.95), (0.3, 1.05)], 0.07, (150, 150, 155), word)
    else:
        frame = [(-base, radius), (-0.12, radius), (0.36, 0.82), (-0.2, 0.84), (-0.12, radius)]
        board.line(frame, 0.055, paint, word)
        board.line([(-base, radius), (-0.2, 0.84), (-0.22, 0.96)], 0.05, paint, word)
        board.line([(base, radius), (0.36, 0.82), (0.33, 1.0), (0.45, 1.04)], 0.05, paint, word)
        board.shape([(-0.34, 0.94), (-0.1, 0.94), (-0.1, 1.0), (-0.34, 1.0)], (30, 28, 28), word)
    if rider:
        _rider(board, rng)


def _rider(board: Board, rng: np.random.Generator) -> None:
    top, bottom = (jitter(rng, pick(rng, CLOTHES), 0.2) for _ in range(2))
    skin = pick(rng, SKINS)
    board.line([(-0.22, 0.98), (0.12, 0.72), (-0.05, 0.35)], 0.16, bottom, "rider")
    board.oval((0.0, 0.3), (0.13, 0.06), (30, 28, 28), "rider")
    board.shape(
        [(-0.36, 0.95), (-0.08, 0.95), (0.2, 1.45), (-0.02, 1.55), (-0.22, 1.45)],
        top,
        "rider",
        0.08,
    )
    board.line([(0.1, 1.42), (0.25, 1.15), (0.4, 1.05)], 0.1, scaled(top, 0.8), "rider")
    board.oval((0.16, 1.66), (0.1, 0.13), skin, "rider")
    board.oval(
        (0.14, 1.73),
        (0.12, 0.09),
        pick(rng, [(225, 225, 225), (190, 40, 40), (40, 40, 45)]),
        "rider",
    )


def dog(board: Board, rng: np.random.Generator) -> None:
    """A standing dog, seen from the side."""
    fur = jitter(
        rng, pick(rng, [(120, 84, 52), (60, 52, 46), (205, 190, 165), (170, 130, 90)]), 0.15
    )
    board.ground_shadow(0.35)
    for x in (-0.3, -0.22, 0.18, 0.26):
        board.shape(
            [(x - 0.03, 0), (x + 0.05, 0), (x + 0.06, 0.3), (x - 0.05, 0.3)],
            scaled(fur, 0.85),
            "dog",
        )
    board.oval((0, 0.38), (0.38, 0.15), fur, "dog", 0.2)
    board.shape([(0.2, 0.36), (0.36, 0.36), (0.46, 0.62), (0.32, 0.64)], fur, "dog", 0.2)
    board.oval((0.44, 0.62), (0.13, 0.1), fur, "dog", 0.15)
    board.shape([(0.5, 0.6), (0.64, 0.57), (0.63, 0.52), (0.5, 0.53)], scaled(fur, 0.8), "dog")
    board.shape([(0.36, 0.68), (0.42, 0.7), (0.36, 0.52), (0.31, 0.56)], scaled(fur, 0.6), "dog")
    board.line([(-0.36, 0.44), (-0.5, 0.56), (-0.56, 0.7)], 0.05, fur, "dog")
