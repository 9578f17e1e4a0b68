"""Points, polygons, light and camera. Metres: x to the right, y up, z away; ground at y = 0."""

from dataclasses import dataclass, field

import numpy as np

Color = tuple[float, float, float]
NEAR = 0.4  # metres; nothing closer is drawn


@dataclass(frozen=True)
class Camera:
    """`focal`, `center` (x) and `horizon` (y) in drawn pixels, `height` above ground in metres."""

    focal: float
    center: float
    horizon: float
    height: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """N x 3 metres -> N x 2 pixels; points nearer than NEAR are pushed to it."""
        z = np.maximum(points[:, 2], NEAR)
        pixels = np.empty((len(points), 2))
        pixels[:, 0] = self.center + self.focal * points[:, 0] / z
        pixels[:, 1] = self.horizon - self.focal * (points[:, 1] - self.height) / z
        return pixels


@dataclass(frozen=True)
class Light:
    """Where light comes from (unit vector towards it), how much is left in its shade, its tint."""

    direction: np.ndarray
    ambient: float
    tint: Color = (1.0, 1.0, 1.0)


@dataclass
class Face:
    """A flat polygon: N x 3 `points`, outward `normal`, `color`, and what it shows.

    `decals` lie on it and are drawn with it; `texture` (h x w x 3), times `tint`, fills a
    quadrilateral given as top left, top right, bottom right, bottom left.
    """

    points: np.ndarray
    normal: np.ndarray
    color: Color
    word: str
    decals: list[tuple[np.ndarray, Color, str]] = field(default_factory=list)
    texture: np.ndarray | None = None
    tint: Color = (1.0, 1.0, 1.0)
    grain: float = 0.05


def clip_near(points: np.ndarray) -> np.ndarray:
    """The part of an N x 3 polygon with z >= NEAR."""
    inside = points[:, 2] >= NEAR
    if inside.all():
        return points
    kept = []
    for i in range(len(points)):
        here, there = points[i - 1], points[i]
        if inside[i - 1] != inside[i]:
            kept.append(here + (there - here) * (NEAR - here[2]) / (there[2] - here[2]))
        if inside[i]:
            kept.append(there)
    return np.array(kept).reshape(-1, 3)


def scaled(color: Color, factor: float) -> Color:
    return (color[0] * factor, color[1] * factor, color[2] * factor)
