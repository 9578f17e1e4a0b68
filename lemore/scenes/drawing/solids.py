"""Bodies made of flat faces, in metres about their own origin (x right, y up, z away)."""

import numpy as np

from lemore.scenes.drawing.space import Color, Face


def quad(*corners: tuple[float, float, float]) -> np.ndarray:
    return np.array(corners, float)


def box(
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    color: Color,
    word: str,
    grain: float = 0.05,
    front: np.ndarray | None = None,
) -> list[Face]:
    """An axis-parallel box from corner `low` to corner `high`; `front` textures its -z side."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    shapes = [
        (quad((x0, y1, z0), (x1, y1, z0), (x1, y0, z0), (x0, y0, z0)), (0, 0, -1)),
        (quad((x1, y1, z1), (x0, y1, z1), (x0, y0, z1), (x1, y0, z1)), (0, 0, 1)),
        (quad((x0, y1, z1), (x0, y1, z0), (x0, y0, z0), (x0, y0, z1)), (-1, 0, 0)),
        (quad((x1, y1, z0), (x1, y1, z1), (x1, y0, z1), (x1, y0, z0)), (1, 0, 0)),
        (quad((x0, y1, z1), (x1, y1, z1), (x1, y1, z0), (x0, y1, z0)), (0, 1, 0)),
        (quad((x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)), (0, -1, 0)),
    ]
    faces = [Face(points, np.array(n, float), color, word, grain=grain) for points, n in shapes]
    faces[0].texture = front
    return faces


def extruded(
    profile: list[tuple[float, float]], half: float, colors: list[Color], side: Color, word: str
) -> list[Face]:
    """A profile of (z, y) points, given from rear bottom over the top to front bottom, drawn out
    from x = -half to x = half. `colors` are those of the strips between consecutive points."""
    faces = []
    for (z0, y0), (z1, y1), color in zip(profile, profile[1:], colors, strict=False):
        normal = np.array([0.0, z1 - z0, -(y1 - y0)])
        normal /= max(float(np.linalg.norm(normal)), 1e-9)
        points = quad((-half, y0, z0), (half, y0, z0), (half, y1, z1), (-half, y1, z1))
        faces.append(Face(points, normal, color, word))
    for x in (-half, half):
        points = np.array([(x, y, z) for z, y in profile])
        faces.append(Face(points, np.array([np.sign(x), 0, 0]), side, word))
    return faces


def disc(x: float, y: float, z: float, radius: float, corners: int = 16) -> np.ndarray:
    """A circle in the plane of constant x, as corners x 3."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack(
        [np.full(corners, x), y + radius * np.sin(angles), z + radius * np.cos(angles)], 1
    )


def wheels(half: float, places: list[float], radius: float, word: str) -> list[list[tuple]]:
    """Decals for the left and right side: tyres and hubs at the given z."""
    sides = []
    for x in (-half - 0.01, half + 0.01):
        shapes: list[tuple] = []
        for z in places:
            shapes.append((disc(x, radius * 1.12, z, radius * 1.25), (30, 30, 32), word))
            shapes.append((disc(x, radius, z, radius), (22, 22, 24), word))
            shapes.append((disc(x, radius, z, radius * 0.58), (160, 160, 165), word))
            shapes.append((disc(x, radius, z, radius * 0.25), (90, 90, 95), word))
        sides.append(shapes)
    return sides
