"""Reads the tables of bodies and puts bodies into a picture.

A line of a table is a colour, a shape and its numbers, in metres about the body's own origin:

    box     x,x  y,y  z,z       its two corners
    prism   x,x  z,y  z,y ...   a profile, from the rear bottom over the top to the front bottom
    wheel   x,x  z,y  r         the two round ends of an axle
    quad    x,x  y,y  z         an upright rectangle; may have a texture
    poly    x,y  x,y ...        a flat shape at z = 0, like the following
    oval    x,y  rx,ry
    line    width  x,y  x,y ...
    ring    x,y  r,width

The plural of a shape adds its mirror image. The colour is a palette or a texture; a digit selects
another one of the same name, `*.8` makes it darker. The label is the body's name up to a colon, or
the word after `/`.
"""

import functools
from typing import NamedTuple

import numpy as np

from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.catalogue import BODIES
from lemore.scenes.drawing.textures import TEXTURES, Rng, choose

Scale = float | tuple[float, ...]
SMALL = 6.0  # drawn pixels; smaller faces are left out
CIRCLE = np.linspace(0, 2 * np.pi, 16, endpoint=False)


class Body(NamedTuple):
    """Flat polygons: polygon i has the points from starts[i] to starts[i + 1], in metres.

    `paints` holds their colour, its factor and their word; `normals` (F x 3) point outwards, and
    are zero for a polygon that is seen from both sides.
    """

    paints: list[tuple[str, float, str]]
    points: np.ndarray
    starts: np.ndarray
    normals: np.ndarray


def place(
    canvas: Canvas, name: str, at: tuple, turns: float = 0.0, size: Scale = 1.0, **colors
) -> None:
    """Draws a body of the catalogue: stretched by `size`, turned, moved to `at`.

    `size` is a number, or factors of width, height and depth, where a negative width mirrors;
    `turns` are quarter turns; `colors` replaces colours that the table names. A body that stands
    on the ground (y = 0) darkens it.
    """
    body, angle = read_body(name), turns * np.pi / 2
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    starts, points = body.starts[:-1], (body.points * size) @ turn + at
    points[:, 2] = np.maximum(points[:, 2], 1e-3)
    x, y = canvas.project(points)
    if canvas.hides(x, y, 1 / float(points[:, 2].min())):
        return
    if at[1] == 0.0 and at[2] < 40:
        _cast_shadow(canvas, points)
    normals = (body.normals / size) @ turn
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    flat = ~normals.any(1)
    seen = flat | (np.sum(normals * (canvas.eye - points[starts]), 1) > 0)
    wide, tall = (np.maximum.reduceat(v, starts) - np.minimum.reduceat(v, starts) for v in (x, y))
    seen &= wide * tall > SMALL
    light = np.where(flat, 1.0, canvas.measure_light(normals))
    canvas.open_body(name)
    for i in np.flatnonzero(seen).tolist():
        color, factor, word = body.paints[i]
        if color not in colors:
            colors[color] = choose_paint(canvas.rng, color.rstrip("123"))
        corners = points[body.starts[i] : body.starts[i + 1]]
        canvas.fill(corners, colors[color], word, float(light[i]) * factor)
    canvas.close_body()


def choose_paint(rng: Rng, name: str) -> np.ndarray:
    return TEXTURES[name](rng) if name in TEXTURES else choose(rng, name)


def _cast_shadow(canvas: Canvas, points: np.ndarray) -> None:
    """Draws a soft dark oval under a body that stands on the ground."""
    low, high = points.min(0), points.max(0)
    spread = np.stack([np.cos(CIRCLE), 0 * CIRCLE, np.sin(CIRCLE)], 1)
    ground = (low + high) / 2 * (1, 0, 1) + spread * np.maximum((high - low) * 0.6, 0.2)
    canvas.shade(ground, 0.5, min(0.12 * canvas.focal / max(float(low[2]), 1.0), 12.0))


@functools.cache
def read_body(name: str) -> Body:
    paints, points, normals = [], [], []
    for line in BODIES[name].strip().splitlines():
        paint, kind, *rest = line.split()
        paint, _, word = paint.partition("/")
        color, _, factor = paint.partition("*")
        numbers = [[float(n) for n in cell.split(",")] for cell in rest]
        faces = SHAPES[kind.removesuffix("es" if kind == "boxes" else "s")](*numbers)
        if kind.endswith("s"):
            mirror = np.array((-1, 1, 1))
            faces += [(np.array(face) * mirror, np.array(n) * mirror) for face, n in faces]
        for polygon, normal in faces:
            paints.append((color, float(factor or 1), word or name.split(":")[0]))
            points.append(np.array(polygon, float))
            normals.append(normal)
    starts = np.cumsum([0, *(len(polygon) for polygon in points)])
    return Body(paints, np.concatenate(points), starts, np.array(normals, float))


def _make_prism(x: list[float], *profile: list[float]) -> list[tuple]:
    faces: list[tuple] = []
    for (z0, y0), (z1, y1) in zip(profile, [*profile[1:], profile[0]], strict=True):
        strip = [(x[0], y1, z1), (x[1], y1, z1), (x[1], y0, z0), (x[0], y0, z0)]
        faces.append((strip, (0, z1 - z0, y0 - y1)))
    ends = [([(x[i], y, z) for z, y in profile], (2 * i - 1, 0, 0)) for i in (0, 1)]
    return [*ends, *faces]


def _make_box(x: list[float], y: list[float], z: list[float]) -> list[tuple]:
    return _make_prism(x, [z[0], y[0]], [z[0], y[1]], [z[1], y[1]], [z[1], y[0]])


def _make_wheel(x: list[float], middle: list[float], radius: list[float]) -> list[tuple]:
    (z, y), (r,) = middle, radius
    return _make_prism(x, *([z + r * np.cos(a), y + r * np.sin(a)] for a in CIRCLE))[:2]


def _make_quad(x: list[float], y: list[float], z: list[float]) -> list[tuple]:
    corners = [(x[0], y[1], *z), (x[1], y[1], *z), (x[1], y[0], *z), (x[0], y[0], *z)]
    return [(corners, (0, 0, 0))]


def _make_poly(*points: list[float] | np.ndarray) -> list[tuple]:
    return [([(x, y, 0) for x, y in points], (0, 0, 0))]


def _make_oval(middle: list[float], radii: list[float]) -> list[tuple]:
    return _make_poly(*(np.stack([np.cos(CIRCLE), np.sin(CIRCLE)], 1) * radii + middle))


def _make_line(width: list[float], *points: list[float]) -> list[tuple]:
    faces: list[tuple] = []
    for start, end in zip(np.array(points), np.array(points[1:]), strict=False):
        along = (end - start) / float(np.hypot(*(end - start))) * width[0] / 2
        side = along[::-1] * (-1, 1)
        start, end = start - along * 0.6, end + along * 0.6
        faces += _make_poly(start + side, end + side, end - side, start - side)
    return faces


def _make_ring(middle: list[float], radius: list[float]) -> list[tuple]:
    """Makes a band between two circles, as one polygon with a seam."""
    circle = np.stack([np.cos(CIRCLE), np.sin(CIRCLE)], 1)[[*range(len(CIRCLE)), 0]]
    outer, inner = (middle + circle * (radius[0] + s * radius[1] / 2) for s in (1, -1))
    return _make_poly(*outer, *inner[::-1])


SHAPES = {
    **{"box": _make_box, "prism": _make_prism, "wheel": _make_wheel, "quad": _make_quad},
    **{"poly": _make_poly, "oval": _make_oval, "line": _make_line, "ring": _make_ring},
}
