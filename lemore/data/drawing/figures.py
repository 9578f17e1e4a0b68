"""Things drawn upright towards the camera: people, two-wheelers, trees, poles and signs.

Each function stands at ground point (x, z) and draws in metres above it.
"""

from collections.abc import Callable

import cv2
import numpy as np

from lemore.data.drawing.canvas import INDEX, Canvas, Color, scaled
from lemore.data.drawing.textures import jitter, pick

SKINS: list[Color] = [(236, 196, 168), (205, 155, 120), (150, 100, 70), (95, 62, 45)]
CLOTHES: list[Color] = [
    *((40, 50, 90), (170, 40, 45), (60, 60, 62), (225, 220, 210), (60, 110, 80)),
    *((200, 160, 60), (110, 75, 130), (30, 30, 34), (120, 160, 190), (190, 110, 120)),
]
LEAVES: list[Color] = [(70, 105, 45), (95, 120, 50), (50, 85, 45), (120, 125, 55), (150, 110, 50)]


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

    def ring(self, middle: tuple[float, float], radius: float, wide: float, color: Color, word: str) -> None:
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


def person(board: Board, rng: np.random.Generator, word: str = "person", shade: float = 1.0) -> None:
    """A standing or walking figure of 1.5 to 1.9 m."""
    tall = float(rng.uniform(1.5, 1.9))
    skin = scaled(pick(rng, SKINS), shade)
    top, bottom = (scaled(jitter(rng, pick(rng, CLOTHES), 0.2), shade) for _ in range(2))
    stride, hip, neck = float(rng.uniform(0.02, 0.24)), 0.5 * tall, 0.84 * tall
    board.ground_shadow(0.35)
    for side in (-1, 1):
        foot = side * stride
        leg = [(foot - 0.07, 0.04), (foot + 0.08, 0.04), (side * 0.06 + 0.08, hip), (side * 0.06 - 0.1, hip)]
        board.shape(leg, scaled(bottom, 1.0 if side > 0 else 0.8), word)
        board.oval((foot + 0.05, 0.04), (0.11, 0.05), (30, 28, 28), word)
    if rng.random() < 0.3:  # skirt or coat
        board.shape([(-0.24, 0.28 * tall), (0.24, 0.28 * tall), (0.16, hip + 0.1), (-0.16, hip + 0.1)], top, word)
    swing = float(rng.uniform(-0.12, 0.16))
    for side in (-1, 1):
        hand = (side * 0.25 + side * swing, hip - 0.02)
        board.line([(side * 0.2, neck - 0.08), (side * 0.27, 0.68 * tall), hand], 0.1, scaled(top, 0.85), word)
        board.oval(hand, (0.05, 0.06), skin, word)
    torso = [(-0.17, hip - 0.03), (0.17, hip - 0.03), (0.23, neck - 0.06), (0.08, neck), (-0.08, neck), (-0.23, neck - 0.06)]
    board.shape(torso, top, word, 0.09)
    board.shape([(0.05, hip), (0.17, hip), (0.22, neck - 0.08), (0.1, neck - 0.03)], scaled(top, 0.82), word)
    board.oval((0, neck + 0.03), (0.05, 0.07), scaled(skin, 0.85), word)
    board.oval((0, neck + 0.15), (0.09, 0.12), skin, word)
    hair = pick(rng, [(35, 25, 20), (90, 60, 35), (190, 160, 100), (120, 120, 120)])
    board.oval((-0.01, neck + 0.21), (0.095, 0.075), scaled(hair, shade), word)
    if rng.random() < 0.3:
        board.oval((-0.2, hip + 0.25), (0.1, 0.2), jitter(rng, pick(rng, CLOTHES), 0.3), word)


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
    board.shape([(-0.36, 0.95), (-0.08, 0.95), (0.2, 1.45), (-0.02, 1.55), (-0.22, 1.45)], top, "rider", 0.08)
    board.line([(0.1, 1.42), (0.25, 1.15), (0.4, 1.05)], 0.1, scaled(top, 0.8), "rider")
    board.oval((0.16, 1.66), (0.1, 0.13), skin, "rider")
    board.oval((0.14, 1.73), (0.12, 0.09), pick(rng, [(225, 225, 225), (190, 40, 40), (40, 40, 45)]), "rider")


def tree(board: Board, rng: np.random.Generator, tall: float) -> None:
    """A broadleaf tree or a conifer: lit from above, holes at its edge."""
    if not board.visible(0.5 * tall):
        return
    leaf, trunk = jitter(rng, pick(rng, LEAVES), 0.2), jitter(rng, (88, 70, 52), 0.2)
    board.ground_shadow(0.3 * tall, 0.8, 0.35)
    thick = 0.035 * tall
    board.shape([(-thick, 0), (thick, 0), (thick * 0.6, tall * 0.6), (-thick * 0.6, tall * 0.6)], trunk, "tree", 0.15)
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


def pole(board: Board, tall: float, color: Color = (95, 98, 100)) -> None:
    board.shape([(-0.07, 0), (0.07, 0), (0.05, tall), (-0.05, tall)], color, "pole")
    board.shape([(0.02, 0), (0.07, 0), (0.05, tall), (0.02, tall)], scaled(color, 0.7), "pole")


def streetlight(board: Board, rng: np.random.Generator) -> None:
    tall = float(rng.uniform(5.0, 7.5))
    pole(board, tall)
    board.line([(0, tall), (0.5, tall + 0.3), (1.2, tall + 0.3)], 0.09, (95, 98, 100), "streetlight")
    board.shape([(0.9, tall + 0.2), (1.7, tall + 0.2), (1.6, tall + 0.42), (0.9, tall + 0.38)], (190, 190, 180), "streetlight")


def traffic_light(board: Board, rng: np.random.Generator) -> None:
    pole(board, 3.2, (70, 72, 74))
    board.shape([(-0.22, 2.5), (0.22, 2.5), (0.22, 3.55), (-0.22, 3.55)], (32, 34, 34), "traffic light")
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
    board.shape([(-0.1, 2.42), (0.1, 2.42), (0.1, 2.62), (0.3, 2.62), (0, 2.84), (-0.3, 2.62), (-0.1, 2.62)], (245, 245, 245), "sign")
