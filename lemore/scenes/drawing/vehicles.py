"""Cars, buses, trucks and trams as bodies; they face +z, so that one ahead shows its rear."""

import numpy as np

from lemore.scenes.drawing.solids import box, extruded, quad, wheels
from lemore.scenes.drawing.space import Color, Face, scaled
from lemore.scenes.drawing.textures import jitter, pick

PAINTS: list[Color] = [
    *((190, 25, 30), (30, 60, 140), (225, 225, 228), (25, 26, 30), (130, 135, 140)),
    *((70, 110, 80), (215, 180, 60), (95, 35, 45), (60, 130, 170), (180, 120, 70)),
]
GLASS: Color = (48, 58, 70)
SKY_GLASS: Color = (120, 140, 158)


def car(rng: np.random.Generator, word: str = "car", sport: bool = False) -> list[Face]:
    """A hatchback, saloon or sports car, about 4.3 m long."""
    paint = jitter(rng, pick(rng, PAINTS), 0.12)
    roof = 1.18 if sport else float(rng.uniform(1.4, 1.62))
    belt = 0.72 if sport else 0.95
    tail = float(rng.uniform(-0.1, 0.55))
    points = [(-2.1, 0.28), (-2.15, belt - 0.05), (-2.0 + tail, belt + 0.02)]
    points += [(-1.45 + tail * 0.8, roof), (0.25, roof), (1.05, belt + 0.05)]
    points += [(2.0, belt - 0.16), (2.15, 0.5), (2.1, 0.28)]
    strips = [paint, paint, SKY_GLASS, scaled(paint, 1.12), SKY_GLASS, scaled(paint, 1.08)]
    half = 0.88
    faces = extruded(points, half, [*strips, paint, paint], paint, word)
    sides = wheels(half, [-1.3, 1.32], 0.33, word)
    for face, shapes, x in zip(faces[-2:], sides, (-half - 0.005, half + 0.005), strict=True):
        face.decals += _side_windows(x, belt, roof, tail, word)
        face.decals.append((_strip(x, belt - 0.28, belt - 0.24), scaled(paint, 0.7), word))
        face.decals += shapes
    _rear(faces[0], belt, word)
    _front(faces[6], belt, word)
    return faces


def _side_windows(x: float, belt: float, roof: float, tail: float, word: str) -> list[tuple]:
    low, high = belt + 0.06, roof - 0.09
    rear = quad(
        (x, low, -1.75 + tail), (x, high, -1.38 + tail * 0.8), (x, high, -0.5), (x, low, -0.5)
    )
    front = quad((x, low, -0.42), (x, high, -0.42), (x, high, 0.2), (x, low, 0.86))
    return [(rear, GLASS, word), (front, GLASS, word)]


def _strip(x: float, low: float, high: float) -> np.ndarray:
    return quad((x, low, -2.1), (x, low, 2.05), (x, high, 2.05), (x, high, -2.1))


def _rear(face: Face, belt: float, word: str) -> None:
    z = -2.17
    for side in (-1, 1):
        lamp = quad(
            (side * 0.86, belt - 0.12, z),
            (side * 0.5, belt - 0.14, z),
            (side * 0.52, belt - 0.3, z),
            (side * 0.86, belt - 0.32, z),
        )
        face.decals.append((lamp, (200, 20, 20), word))
    plate = quad((-0.26, 0.62, z), (0.26, 0.62, z), (0.26, 0.5, z), (-0.26, 0.5, z))
    bumper = quad((-0.86, 0.42, z), (0.86, 0.42, z), (0.86, 0.26, z), (-0.86, 0.26, z))
    face.decals += [(plate, (235, 235, 225), word), (bumper, (38, 38, 40), word)]


def _front(face: Face, belt: float, word: str) -> None:
    z = 2.17
    for side in (-1, 1):
        lamp = quad(
            (side * 0.84, belt - 0.2, z),
            (side * 0.48, belt - 0.24, z),
            (side * 0.5, belt - 0.38, z),
            (side * 0.84, belt - 0.34, z),
        )
        face.decals.append((lamp, (250, 248, 225), word))
    grille = quad((-0.42, 0.58, z), (0.42, 0.58, z), (0.42, 0.34, z), (-0.42, 0.34, z))
    face.decals.append((grille, (28, 28, 30), word))


def bus(rng: np.random.Generator, color: Color | None = None) -> list[Face]:
    """A bus of 10 m."""
    paint = color or jitter(rng, pick(rng, [(200, 40, 35), (240, 200, 60), (60, 110, 170)]), 0.15)
    long, wide, high, word = 5.0, 1.25, 3.1, "bus"
    faces = box((-wide, 0.35, -long), (wide, high, long), paint, word)
    sides = wheels(wide, [-long * 0.62, long * 0.62], 0.48, word)
    for face, shapes, x in ((faces[2], sides[0], -wide - 0.01), (faces[3], sides[1], wide + 0.01)):
        face.decals += _panes(x, (1.5, 2.6), (-long + 0.4, long - 1.2), word)
        face.decals.append((_band(x, 1.1, 1.3, long), scaled(paint, 0.6), word))
        face.decals += shapes
    rear, front = (-long - 0.01, (200, 25, 20)), (long + 0.01, (250, 245, 220))
    for face, (z, lamp) in ((faces[0], rear), (faces[1], front)):
        pane = quad((-1.1, 2.7, z), (1.1, 2.7, z), (1.1, 1.45, z), (-1.1, 1.45, z))
        sign = quad((-0.8, 3.0, z), (0.8, 3.0, z), (0.8, 2.78, z), (-0.8, 2.78, z))
        face.decals += [(pane, SKY_GLASS, word), (sign, (25, 25, 25), word)]
        face.decals += _lamps(0.95, (0.7, 0.95), z, lamp, word)
    return faces


def tram(rng: np.random.Generator) -> list[Face]:
    """A tram of 16 m: pale, with a coloured belt and skirt, rounded ends, no wheels to be seen."""
    belt = jitter(rng, pick(rng, [(40, 120, 90), (170, 40, 60), (50, 80, 150)]), 0.1)
    pale, word = jitter(rng, (236, 230, 212), 0.05), "train"
    points = [
        (-7.6, 0.25),
        (-8.0, 1.3),
        (-7.7, 3.2),
        (-7.2, 3.5),
        (7.2, 3.5),
        (7.7, 3.2),
        (8.0, 1.3),
    ]
    strips = [belt, SKY_GLASS, pale, scaled(pale, 0.9), pale, SKY_GLASS, belt]
    faces = extruded([*points, (7.6, 0.25)], 1.25, strips, pale, word)
    for face, x in ((faces[-2], -1.26), (faces[-1], 1.26)):
        face.decals.append((_band(x, 0.25, 1.1, 7.6), belt, word))
        face.decals += _panes(x, (1.5, 2.8), (-7.0, 6.2), word)
    for face, z in ((faces[0], -8.05), (faces[6], 8.05)):
        face.decals += _lamps(0.8, (0.75, 1.0), z, (250, 240, 200), word)
    return faces


def _panes(
    x: float, up: tuple[float, float], along: tuple[float, float], word: str
) -> list[tuple[np.ndarray, Color, str]]:
    low, high = up
    starts = np.arange(along[0], along[1], 1.5)
    return [
        (quad((x, low, z), (x, high, z), (x, high, z + 1.25), (x, low, z + 1.25)), GLASS, word)
        for z in starts
    ]


def _band(x: float, low: float, high: float, long: float) -> np.ndarray:
    return quad((x, low, -long), (x, high, -long), (x, high, long), (x, low, long))


def _lamps(
    apart: float, up: tuple[float, float], z: float, color: Color, word: str
) -> list[tuple[np.ndarray, Color, str]]:
    """Two lamps on a front or rear, `apart` metres from the middle."""
    low, high = up
    return [
        (
            quad((x - 0.2, high, z), (x + 0.2, high, z), (x + 0.2, low, z), (x - 0.2, low, z)),
            color,
            word,
        )
        for x in (-apart, apart)
    ]


def truck(rng: np.random.Generator) -> list[Face]:
    """A cab in front of a box of another colour, 7 m."""
    cab = jitter(rng, pick(rng, PAINTS), 0.15)
    load = jitter(
        rng, pick(rng, [(225, 225, 220), (180, 190, 200), (90, 120, 90), (200, 150, 90)]), 0.1
    )
    faces = box((-1.15, 0.8, -3.6), (1.15, 3.4, 1.6), load, "truck")
    front = box((-1.1, 0.45, 1.65), (1.1, 2.5, 3.4), cab, "truck")
    chassis = box((-1.0, 0.35, -3.5), (1.0, 0.8, 1.65), (40, 40, 42), "truck")
    sides = wheels(1.12, [-2.6, -1.6, 2.4], 0.46, "truck")
    chassis[2].decals += sides[0]
    chassis[3].decals += sides[1]
    for face, x in ((front[2], -1.11), (front[3], 1.11)):
        pane = quad((x, 1.5, 2.1), (x, 2.25, 2.1), (x, 2.25, 3.2), (x, 1.5, 3.35))
        face.decals.append((pane, GLASS, "truck"))
    shield = quad((-0.95, 2.3, 3.41), (0.95, 2.3, 3.41), (0.95, 1.5, 3.41), (-0.95, 1.5, 3.41))
    front[1].decals.append((shield, SKY_GLASS, "truck"))
    faces[0].decals += _lamps(0.85, (0.9, 1.05), -3.61, (190, 25, 20), "truck")
    return [*chassis, *faces, *front]
