"""Landscapes, and the parts that they share with streets."""

import numpy as np

from lemore.scenes.drawing import textures
from lemore.scenes.drawing.bodies import place
from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.textures import Rng, Size

# Colours of the sky at its top and at the horizon, share of light in the shade, tint.
SKIES = [
    ((70, 125, 200), (190, 212, 232), 0.60, (1.08, 1.04, 0.98)),
    ((110, 155, 205), (205, 218, 228), 0.70, (1.06, 1.06, 1.05)),
    ((150, 158, 168), (196, 200, 204), 0.85, (1.0, 1.02, 1.05)),
    ((85, 95, 140), (240, 185, 140), 0.70, (1.12, 1.0, 0.9)),
]
THINGS = ("person", "person", "dog", "bench", "bush", "bush", "bicycle", "tree")


def open_canvas(size: Size, rng: Rng) -> Canvas:
    """Makes a canvas with a sky, often with hills on the horizon."""
    top, low, ambient, tint = SKIES[rng.integers(len(SKIES))]
    canvas = Canvas(size, rng, ambient, tint)
    canvas.haze, canvas.haze_color = rng.uniform(0.001, 0.006), textures.jitter(rng, low, 0.06)
    canvas.paint_sky(textures.jitter(rng, top, 0.1), rng.uniform(0, 0.75))
    if rng.random() < 0.5:
        x, high = np.linspace(-300, 300, 60), rng.uniform(4, 20)
        waves = [np.sin(x * f + rng.uniform(0, 6)) / f / 50 for f in (0.02, 0.06, 0.2)]
        y = np.maximum(high * (1.2 + 0.8 * np.sum(waves, 0)), 0)
        points = np.stack([[*x, 300, -300], [*y, 0, 0], [250] * 62], 1)
        canvas.fill(points, textures.choose(rng, "hill"), "mountain")
    return canvas


def lay(canvas: Canvas, x: tuple, z: tuple, paint: np.ndarray, word: str) -> None:
    """Covers a rectangle of the ground, from z[0] (near) to z[1], with a colour or texture."""
    corners = [(x[0], 0, z[1]), (x[1], 0, z[1]), (x[1], 0, z[0]), (x[0], 0, z[0])]
    canvas.fill(np.array(corners, float), paint, word)


def lay_ground(canvas: Canvas, palette: str, word: str) -> None:
    """Covers all ground, the near part with a rough texture."""
    rng = canvas.rng
    color = textures.choose(rng, palette)
    lay(canvas, (-900, 900), (0.5, 600), color, word)
    lay(canvas, (-24, 24), (0.6, 40), textures.make_plain(rng, (120, 140), color, 0.16), word)


def draw_house(canvas: Canvas, edge: float, side: int, z: float, length: float) -> None:
    """Draws a house whose front, at x = `edge`, faces the middle; `side` is -1 left, 1 right."""
    rng, far = canvas.rng, z + length
    high, deep = rng.uniform(3.2, 17), rng.uniform(8, 12)
    back = edge + side * deep
    facade = textures.make_facade(int(rng.integers(textures.VARIANTS)))
    color = textures.choose(rng, "front")
    for x1, z1, wide, normal in ((edge, far, length, (-side, 0, 0)), (back, z, deep, (0, 0, -1))):
        wall = np.array([(edge, high, z), (x1, high, z1), (x1, 0, z1), (edge, 0, z)])
        light = canvas.measure_light(np.array(normal))
        canvas.fill(wall, facade[-int(high * 12) :, : int(wide * 12)], "building", color * light)
    if high < 8 and rng.random() < 0.7:
        size = (length + 0.6, rng.uniform(4, 7), deep)
        place(canvas, "building:roof", ((edge + back) / 2, high, z + length / 2), 1, size)


def open_landscape(size: Size, rng: Rng) -> Canvas:
    """Makes a meadow with trees far away, as a background."""
    canvas = open_canvas(size, rng)
    lay_ground(canvas, "soil", "grass")
    for _ in range(int(rng.integers(2, 12))):
        at = (rng.uniform(-26, 26), 0.0, rng.uniform(16, 60))
        place(canvas, "tree", at, 0, rng.uniform(4, 9))
    return canvas


def draw_landscape(size: Size, rng: Rng) -> Canvas:
    """Draws a meadow with a lake or a path, houses, a fence, people, animals."""
    canvas = open_landscape(size, rng)
    if rng.random() < 0.5:
        turn, (x, z) = np.linspace(0, 2 * np.pi, 24), rng.uniform((-8, 14), (8, 26))
        shore = [x + rng.uniform(6, 16) * np.cos(turn), 0 * turn, z + 6 * np.sin(turn)]
        canvas.fill(np.stack(shore, 1), textures.choose(rng, "lake"), "water")
    else:
        x, z = np.cumsum(rng.uniform(-3, 3, 5)), np.array((0.6, 6, 14, 30, 70))
        edges = [np.stack([x + wide, 0 * x, z], 1) for wide in (-1.5, 1.5)]
        canvas.fill(np.vstack([edges[0], edges[1][::-1]]), textures.choose(rng, "path"), "road")
    for side in (-1, 1):
        if rng.random() < 0.4:
            draw_house(canvas, side * rng.uniform(7, 14), side, rng.uniform(18, 30), 9.0)
    if rng.random() < 0.6:
        z, tall, fence = rng.uniform(6, 14), rng.uniform(0.9, 1.3), textures.make_fence(rng)
        for x in np.arange(-14, 14, 3.0):
            place(canvas, "fence", (x, 0.001, z), 0, (3, tall, 1), fence=fence)
    for body in rng.choice(THINGS, int(rng.integers(4, 9))):
        z, tall = rng.uniform(3.5, 14), rng.uniform(0.9, 1.1) * (5 if body == "tree" else 1)
        at = (rng.uniform(-0.55, 0.55) * z, 0.0, z)
        place(canvas, str(body), at, 0, (int(rng.choice([-1, 1])) * tall, tall, tall))
    return canvas
