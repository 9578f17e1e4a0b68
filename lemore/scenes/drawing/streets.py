"""A street seen from a car or the pavement: sky, houses, trees, traffic, people."""

import numpy as np

from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.roadside import FAR, Street, roadside, street_furniture
from lemore.scenes.drawing.solids import quad
from lemore.scenes.drawing.space import Camera, Color, Light
from lemore.scenes.drawing.textures import jitter, plain, tiles
from lemore.scenes.drawing.traffic import people, traffic

SKIES: list[tuple[Color, Color, float, Color]] = [  # top, horizon, ambient share, tint
    ((70, 125, 200), (190, 212, 232), 0.60, (1.08, 1.04, 0.98)),
    ((110, 155, 205), (205, 218, 228), 0.70, (1.06, 1.06, 1.05)),
    ((150, 158, 168), (196, 200, 204), 0.85, (1.0, 1.02, 1.05)),
    ((85, 95, 140), (240, 185, 140), 0.70, (1.12, 1.0, 0.9)),
]


def draw(
    size: tuple[int, int], scale: int, rng: np.random.Generator, hood: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(image H x W x 3 uint8 RGB, label H x W uint8 positions in WORDS); `hood`: from a car."""
    height, width = size[0] * scale, size[1] * scale
    focal = width * float(rng.uniform(0.62, 0.95))
    horizon = height * float(rng.uniform(0.36, 0.52))
    camera = Camera(
        focal, width * float(rng.uniform(0.38, 0.62)), horizon, float(rng.uniform(1.3, 2.0))
    )
    top, bottom, ambient, tint = SKIES[int(rng.integers(len(SKIES)))]
    sun = np.array([rng.uniform(-1, 1), rng.uniform(0.6, 1.4), rng.uniform(-1.0, 0.3)])
    light = Light(sun / np.linalg.norm(sun), ambient, tint)
    canvas = Canvas(size, scale, camera, light)
    canvas.sky(jitter(rng, top, 0.1), jitter(rng, bottom, 0.06), float(rng.uniform(0.0, 0.75)), rng)
    street = Street(canvas, rng, hood)
    _backdrop(street)
    _ground(street)
    for side in (-1, 1):
        roadside(street, side)
    street_furniture(street)
    traffic(street)
    people(street)
    street.draw_items()
    if hood:
        _hood(canvas, rng)
    return canvas.finish(rng, float(rng.uniform(0.001, 0.006)), bottom)


def _backdrop(street: Street) -> None:
    """Hills or a skyline on the horizon."""
    canvas, rng = street.canvas, street.rng
    kind = rng.random()
    steps = np.linspace(0, canvas.width, 24 if kind < 0.4 else 18)
    base = np.array([[canvas.width, canvas.camera.horizon + 2], [0, canvas.camera.horizon + 2]])
    if kind < 0.4:
        phase, high = rng.uniform(0, 6.3, 3), canvas.height * rng.uniform(0.06, 0.2)
        waves = sum(
            np.sin(steps / canvas.width * f + p) / f for f, p in zip((3, 7, 16), phase, strict=True)
        )
        ridge = np.stack([steps, canvas.camera.horizon - high * (0.8 + 1.6 * waves)], 1)
        color = jitter(rng, (108, 122, 118), 0.15)
        canvas.polygon(np.vstack([ridge, base]), color, "mountain", 0.12, 60.0)
    elif kind < 0.75:
        tops = canvas.camera.horizon - canvas.height * rng.uniform(0.03, 0.14, len(steps))
        ridge = np.repeat(np.stack([steps, tops], 1), 2, axis=0)
        ridge[1:, 1] = ridge[:-1, 1]
        canvas.polygon(
            np.vstack([ridge, base]), jitter(rng, (128, 128, 132), 0.1), "building", 0.1, 90.0
        )


def _ground(street: Street) -> None:
    """Grass or paving at the sides, pavements with kerbs, the road with its marks and shadows."""
    canvas, rng = street.canvas, street.rng
    grass = rng.random() < 0.6
    verge: Color = jitter(rng, (96, 116, 62), 0.15) if grass else jitter(rng, (150, 144, 136), 0.1)
    word = "grass" if grass else "sidewalk"
    side = quad((-400, 0, 0.5), (400, 0, 0.5), (400, 0, 400), (-400, 0, 400))
    canvas.surface(side, verge, word, 0.2 if grass else 0.06)
    paving = tiles(rng, (640, 40), jitter(rng, (158, 152, 146), 0.12), 10)
    for sign in (-1, 1):
        inner, outer = street.offset + sign * street.road, street.edge(sign)
        strip = quad((inner, 0.02, FAR), (outer, 0.02, FAR), (outer, 0.02, 1.0), (inner, 0.02, 1.0))
        canvas.textured(strip, paving, "sidewalk", 0.05, None)
        kerb = inner + sign * 0.18
        edge = quad((inner, 0.03, FAR), (kerb, 0.03, FAR), (kerb, 0.03, 0.5), (inner, 0.03, 0.5))
        canvas.surface(edge, (184, 182, 176), "sidewalk")
    left, right = street.offset - street.road, street.offset + street.road
    asphalt = plain(rng, (512, 64), jitter(rng, (92, 92, 96), 0.16), 0.05)
    asphalt[:, 14:18] *= 0.93
    asphalt[:, 44:48] *= 0.93  # wheel tracks
    road = quad((left, 0, FAR), (right, 0, FAR), (right, 0, 0.6), (left, 0, 0.6))
    canvas.textured(road, asphalt, "road", 0.07, None)
    _marks(street)
    _cast_shadow(street)


def _marks(street: Street) -> None:
    canvas, rng = street.canvas, street.rng
    white: Color = (222, 222, 214)
    for z in np.arange(float(rng.uniform(0.5, 4)), 90, 6.0):
        x = street.offset
        dash = quad((x - 0.08, 0, z), (x + 0.08, 0, z), (x + 0.08, 0, z + 3), (x - 0.08, 0, z + 3))
        canvas.surface(dash, white, "road")
    if rng.random() < 0.6:
        for sign in (-1, 1):
            x = street.offset + sign * (street.road - 0.4)
            line = quad(
                (x - 0.06, 0, 0.5), (x + 0.06, 0, 0.5), (x + 0.06, 0, 100), (x - 0.06, 0, 100)
            )
            canvas.surface(line, white, "road")
    if rng.random() < 0.35:  # a zebra crossing
        z = float(rng.uniform(7, 16))
        for x in np.arange(
            street.offset - street.road + 0.3, street.offset + street.road - 0.5, 1.0
        ):
            stripe = quad((x, 0, z), (x + 0.5, 0, z), (x + 0.5, 0, z + 3), (x, 0, z + 3))
            canvas.surface(stripe, white, "road")


def _cast_shadow(street: Street) -> None:
    """The shade of the houses on the sunless side, ragged where houses end."""
    canvas, rng = street.canvas, street.rng
    if canvas.light.ambient > 0.8:
        return
    side = -1 if canvas.light.direction[0] < 0 else 1
    edge, z = street.edge(side, 3.0), 1.0
    while z < 80:
        length, reach = float(rng.uniform(6, 16)), float(rng.uniform(0.2, 0.9)) * 2 * street.road
        inner = edge - side * (street.pavement + reach)
        area = quad((edge, 0, z), (inner, 0, z), (inner, 0, z + length), (edge, 0, z + length))
        canvas.shadow(area, 0.38, 1.5)
        z += length + (float(rng.uniform(1, 4)) if rng.random() < 0.3 else 0.0)


def _hood(canvas: Canvas, rng: np.random.Generator) -> None:
    """The front of the car that carries the camera, at the lower edge."""
    width, height = canvas.width, canvas.height
    top = height * float(rng.uniform(0.92, 0.97))
    steps = np.linspace(0, width, 20)
    curve = top + (height * 0.05) * ((steps / width - 0.5) * 2) ** 2
    shape = np.vstack([np.stack([steps, curve], 1), [[width, height], [0, height]]])
    canvas.polygon(shape, jitter(rng, (40, 42, 46), 0.3), "ego vehicle", 0.05, 1.0)
