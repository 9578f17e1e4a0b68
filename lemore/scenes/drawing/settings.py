"""Backgrounds for single objects: outdoors, indoors, close up."""

import numpy as np

from lemore.scenes.drawing import furniture, plants
from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.figures import Board
from lemore.scenes.drawing.solids import quad
from lemore.scenes.drawing.space import Camera, Color
from lemore.scenes.drawing.textures import jitter, noise, pick, planks, wallpaper

Points = list[tuple[float, float]]


def look(canvas: Canvas, horizon: float, height: float) -> None:
    """Moves the camera: horizon as a share of the picture's height, height above ground in m."""
    camera = canvas.camera
    canvas.camera = Camera(camera.focal, camera.center, horizon * canvas.height, height)


def outdoors(canvas: Canvas, rng: np.random.Generator) -> None:
    """Sky over a meadow, a square or a beach, with trees or houses far away."""
    canvas.sky(jitter(rng, (95, 145, 205), 0.2), (212, 222, 230), float(rng.uniform(0, 0.7)), rng)
    soil = jitter(
        rng, pick(rng, [(96, 124, 62), (150, 146, 138), (206, 186, 140), (98, 98, 102)]), 0.15
    )
    ground = quad((-300, 0, 0.5), (300, 0, 0.5), (300, 0, 300), (-300, 0, 300))
    canvas.surface(ground, soil, "grass", 0.16)
    for _ in range(int(rng.integers(0, 7))):
        board = Board(canvas, float(rng.uniform(-20, 20)), float(rng.uniform(18, 50)))
        plants.tree(board, rng, float(rng.uniform(5, 9)))


def indoors(canvas: Canvas, rng: np.random.Generator, far: float) -> None:
    """A wall and a floor."""
    wall = wallpaper(rng, (120, 160), jitter(rng, pick(rng, furniture.CLOTHS), 0.3))
    back = quad((-4, 3.2, far), (4, 3.2, far), (4, 0, far), (-4, 0, far))
    canvas.image[:] = 200
    canvas.textured(back, wall, "room wall", 0.03, None)
    boards = planks(rng, (200, 160), jitter(rng, (150, 110, 75), 0.25), 14)
    floor = quad((-4, 0, far), (4, 0, far), (4, 0, 0.5), (-4, 0, 0.5))
    canvas.textured(floor, boards, "floor", 0.05, None)


def close_up(canvas: Canvas, colors: list[Color], rng: np.random.Generator) -> Board:
    """A blurred background of one colour range, and a board 2 m high that fills the picture."""
    first, second = (np.array(jitter(rng, pick(rng, colors), 0.2), np.float32) for _ in range(2))
    shape = (canvas.height, canvas.width)
    part = 1 / (1 + np.exp(-1.6 * noise(rng, shape, (canvas.width // 3, canvas.width // 6))))
    canvas.image[:] = first * part[..., None] + second * (1 - part[..., None])
    canvas.camera = Camera(canvas.width * 0.5, canvas.width / 2, canvas.height / 2, 0.0)
    x, y = rng.uniform(-0.15, 0.15, 2)
    return Board(canvas, float(x), float(rng.uniform(1.05, 1.5)), float(y), flip=rng.random() < 0.5)


def turned(points: Points, angle: float) -> Points:
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return [(c * x - s * y, s * x + c * y) for x, y in points]
